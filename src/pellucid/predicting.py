"""What a run is asked about, from the words of a command line, and its answers as rows."""

import csv
import dataclasses
import glob
import io
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid import checkpoint, filming, wording
from pellucid.data import folders, sources, tables, video
from pellucid.data.read import kinds, read
from pellucid.drawing import Atlas, Gallery
from pellucid.errors import BadData, BadUsage
from pellucid.evaluate import Evaluation
from pellucid.finding import above, columns_of, has_boxes, has_map, lines_of
from pellucid.recipe import Data
from pellucid.task import Example, Task

ANSWERS = ("label", "labels", "absent", "unknown", "classes", "objects", "map")
TOGETHER = 256  # pictures or texts answered before the first answer is told
HELD = 1 << 28  # bytes of a video's frames in memory
_CHUNK = 1 << 22  # numbers looked at together where each label is scored

# ---- what is asked ----------------------------------------------------------------------------------------------------


def examples_of(entries: Iterable[str], takes: str, data_of: Callable[[str], Data] = Data) -> list[Example | str]:
    """The examples that words name: sources with their kind, tables, patterns of files; pictures, folders of them and videos; or texts.

    Args:
        takes: what the run's task takes for an example that is not a row: "text", "image" or "video".
        data_of: a source with the columns that were asked for.
    Raises:
        BadData: a file that is not there, or a folder without pictures, or videos.
    """
    rows: list[Example | str] = []
    for entry in entries:
        kind, _, place = entry.partition(":")
        if kind in kinds() and place:
            rows += read(data_of(entry))
        elif takes == "image":
            rows += [row for path in _matching(entry) for row in _pictures(path, data_of)]
        elif takes == "video":
            rows += [row for path in _matching(entry) for row in filming.clips(path, data_of)]
        elif tables.kind_of(entry):
            rows += [row for path in _matching(entry) for row in read(data_of(path))]
        elif os.sep in entry and pathlib.Path(entry).is_dir():
            raise BadUsage(f"{entry}: a folder; this run takes texts, or sources with their kind, as csv:reviews.csv")
        else:
            rows.append(entry)
    return rows


def _matching(entry: str) -> list[str]:
    """The file itself, or all files that a pattern fits."""
    path = os.path.expanduser(entry)
    if os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else []
    if not found:
        raise BadData(f"{entry}: no file fits" if glob.has_magic(path) else f"{entry}: no such file")
    return found


def _pictures(path: str, data_of: Callable[[str], Data]) -> list[Example]:
    """A picture, all pictures of a folder at any depth, a video, or the rows of a table or archive of pictures."""
    if sources.is_video(path) and not os.path.isdir(path):
        return [{"id": path, "video": path}]
    if os.path.isdir(path):
        root = pathlib.Path(path)
        names = folders.pictures(folders.walk(root)[0], path)
        return [{"id": str(root / name), "image": str(root / name)} for name in names]
    if sources.is_picture(path) or not (tables.kind_of(path) or path.lower().endswith((".tar", ".zip", ".npz"))):
        return [{"id": path, "image": path}]
    return read(data_of(path))


def named(examples: Sequence[Example | str], takes: str) -> list[Example]:
    """The examples as rows with an id; a string is a text, or the path of a picture or video."""
    rows = [{takes: e, **({"id": e} if takes != "text" else {})} if isinstance(e, str) else e for e in examples]
    return [{"id": str(i + 1), **row} for i, row in enumerate(rows)]


def unanswered(example: Example | str) -> Example | str:
    """The example without its labels, which need not be the model's where it is asked for them."""
    return example if isinstance(example, str) else {key: value for key, value in example.items() if key not in ANSWERS}


def leave_out_broken(task: Task) -> None:
    """Has a task of pictures or videos look at each whole one first, and leave out those that cannot be read.

    Raises:
        BadUsage: it is no such task.
    """
    settings: Any = getattr(task, "settings", None)
    if not hasattr(settings, "broken"):
        raise BadUsage(f"--broken skip: {type(task).__name__} reads no pictures or videos")
    looked = {"check": "full"} if hasattr(settings, "check") else {}  # clips are looked at whole in any case
    task.settings = dataclasses.replace(settings, broken="skip", **looked)  # type: ignore[attr-defined]


# ---- what is answered -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Asking:
    """How answers are wanted.

    Args:
        probs: every label's probability as well.
        threshold: the least score of a box that is told; None takes the task's own.
        every: of a video each so many frames, from the first.
        gallery: where pictures and videos are drawn.
        maps: where maps of classes go.
        words: what pictures are searched for.
    """

    probs: bool = False
    threshold: float | None = None
    every: int = 1
    gallery: Gallery | None = None
    maps: Atlas | None = None
    words: wording.Words | None = None


def predicted(run: Any, examples: Sequence[Example | str], asking: Asking = Asking()) -> Iterator[dict[str, Any]]:
    """The answers of a run as they are found: all texts or pictures, then the frames of videos; or one for each clip.

    Raises:
        BadData: a picture or a video cannot be read; of a video cut short after the answers, and the drawing, of what it has.
        BadUsage: boxes are asked of a task that has none, frames of one that takes no pictures, or words are missing.
    """
    if filming.takes_clips(run.task):
        yield from _clips(run, examples, asking)
        return
    clips = [e["video"] for e in examples if isinstance(e, dict) and "video" in e]
    others = [unanswered(e) for e in examples if not (isinstance(e, dict) and "video" in e)]
    rows = run._rows(wording.worded(run.task, others, asking.words)) if others or not clips else []
    for first in range(0, len(rows), TOGETHER):
        some = rows[first : first + TOGETHER]
        found = _answered(run, some, asking)
        if asking.gallery:
            for example, told in zip(some, found, strict=True):
                asking.gallery.picture(example, told)
        yield from (row for told in found for row in told)
    for clip in clips:
        yield from _filmed(run, clip, asking)


def _clips(run: Any, examples: Sequence[Example | str], asking: Asking) -> Iterator[dict[str, Any]]:
    """The answers for whole clips, some at a time; all at once where broken ones are left out, since all of some may be broken."""
    filming.refuse(run.task, {"--every": asking.every != 1, "--draw": bool(asking.gallery), "--maps": bool(asking.maps)})
    step = max(1, len(examples)) if getattr(run.task.settings, "broken", "") == "skip" else filming.TOGETHER
    for first in range(0, max(1, len(examples)), step):
        rows = run._rows([unanswered(e) for e in examples[first : first + step]])
        yield from (row for told in _answered(run, rows, asking) for row in told)


def _answered(run: Any, rows: Sequence[Example], asking: Asking) -> list[list[dict[str, Any]]]:
    """Of each example its answer; of one that is asked several captions one for each."""
    if asking.words:
        return searched(run, rows, asking.words, asking.probs, asking.threshold)
    found = answers(run.task, rows, run.measure(rows, labelled=False), asking.probs, asking.threshold)
    if asking.gallery and found and not (has_boxes(found[0]) or has_map(found[0])):
        raise BadUsage(f"--draw: {type(run.task).__name__} predicts no boxes")
    if asking.maps:
        asking.maps.keep(type(run.task).__name__, rows, found)
    return [[row] for row in found]


def searched(
    run: Any, rows: Sequence[Example], words: wording.Words, probs: bool = False, threshold: float | None = None
) -> list[list[dict[str, Any]]]:
    """Of each prepared picture, which is looked at once, an answer for each caption, or one for all labels.

    Raises:
        BadUsage: probabilities are asked for.
    """
    least = _least(run.task, probs, threshold)
    found = wording.answered(run, rows, words, least)
    return [[{**_who(row, given), **above(given, least)} for row, given in one] for one in found]


def _filmed(run: Any, path: str, asking: Asking) -> Iterator[dict[str, Any]]:
    """The answers for a video's frames; drawn, those in between keep the boxes of the last one that was asked about."""
    clip, gallery = video.about(path), asking.gallery
    most = run.recipe.loop.eval_batch_size * (asking.every if gallery else 1)
    held = max(1, min(most, HELD // (3 * clip.width * clip.height)))
    last: list[dict[str, Any]] = []
    with ExitStack() as closing:
        film = closing.enter_context(gallery.film(path, clip.rate)) if gallery else None
        for some in _held(video.frames(path, 1 if gallery else asking.every), held):
            asked = [frame for frame in some if frame.index % asking.every == 0]
            stills = wording.worded(run.task, [_still(path, frame) for frame in asked], asking.words)
            found = _answered(run, run._rows(stills), asking) if asked else []
            known = {told[0]["frame"]: told for told in found}
            if gallery and film:
                last = _draw(gallery, film, some, known, last)
            yield from (row for told in found for row in told)


def _draw(
    gallery: Gallery,
    film: video.Writer,
    frames: Sequence[video.Frame],
    known: Mapping[int, list[dict[str, Any]]],
    last: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Adds the frames to the film; gives the answers that were drawn last."""
    for frame in frames:
        last = known.get(frame.index, last)
        film.add(gallery.frame(frame.picture, last))
    return last


def _still(path: str, frame: video.Frame) -> Example:
    told = {"video": path, "frame": frame.index, "time_s": round(frame.time_s, 6)}
    return {"id": f"{path}:{frame.index}", "image": frame.file(), **told}


def _held(frames: Iterable[video.Frame], count: int) -> Iterator[list[video.Frame]]:
    """So many frames at a time; what came before a fault comes before it is raised."""
    held: list[video.Frame] = []
    fault = None
    try:
        for frame in frames:
            held.append(frame)
            if len(held) == count:
                yield held
                held = []
    except BadData as error:
        fault = error
    if held:
        yield held
    if fault:
        raise fault


def answers(
    task: Task, rows: Sequence[Example], found: Evaluation, probs: bool = False, threshold: float | None = None
) -> list[dict[str, Any]]:
    """A dict per row: its id and file, the prediction, the prediction's score, and where asked for every label's probability.

    Of boxes: `labels`, `scores`, `boxes_xyxy` in pixels of the upright picture, `answers` as `explain` takes them, perhaps `masks`,
    the strongest first, of those that score `threshold` or more, which is the task's own unless told. Of a map what `above` says. Of
    pairs of pictures their files as `image` and `reference`, and each number under its name. Of a picture and its `caption` that, too,
    and of each box the `spans` of the caption that are its label.

    Raises:
        BadUsage: probabilities of boxes, or a threshold of what has none.
    """
    who = [_who(row, given) for row, given in zip(rows, found.predictions, strict=True)]
    if any(map(has_boxes, found.predictions)):
        least = _least(task, probs, threshold)
        return [{**one, **above(given, least)} for one, given in zip(who, found.predictions, strict=True)]
    if threshold is not None and rows:
        raise BadUsage(f"--threshold: {type(task).__name__} predicts no boxes")
    if not probs and any(map(has_map, found.predictions)):
        return [{**one, **above(given, 0)} for one, given in zip(who, found.predictions, strict=True)]
    if not probs and rows and all(is_numbers(given) for given in found.predictions):
        return [{**one, **_beside(row), **_rounded(given)} for one, row, given in zip(who, rows, found.predictions, strict=True)]
    unit = "log_probability" if task.score_unit == "log-probability" else "value"
    labels = list(map(str, getattr(task, "labels", ())))
    each = zip(who, found.predictions, found.scores.tolist(), strict=True)
    told = [{**one, "prediction": _plain(given), unit: score} for one, given, score in each]
    if not probs:
        return told
    if not labels or found.logits is None or unit == "value":
        raise BadUsage(f"--probs: {type(task).__name__} gives no probabilities of labels here")
    shares = probabilities(task, torch.from_numpy(found.logits)).tolist()
    return [{**row, "probs": dict(zip(labels, share, strict=True))} for row, share in zip(told, shares, strict=True)]


def _least(task: Task, probs: bool, threshold: float | None) -> float:
    """The score from which boxes are told."""
    if probs:
        raise BadUsage(f"--probs: {type(task).__name__} gives the score of each box; --threshold 0 tells all")
    return float(getattr(getattr(task, "settings", None), "threshold", 0.0)) if threshold is None else threshold


def is_numbers(prediction: Any) -> bool:
    """Whether a prediction is numbers by name, as a quality and its spread."""
    return isinstance(prediction, Mapping) and all(isinstance(value, (int, float)) for value in prediction.values())


def probabilities(task: Task, logits: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Every label's probability, as the task scores it: of a softmax, or of the label's own sigmoid."""
    rows, classes = logits.shape
    step = max(1, _CHUNK // max(1, classes * classes))
    parts = []
    for some in logits.split(step):
        copies = some.repeat_interleave(classes, 0)  # (n k) c
        answer = torch.arange(classes).repeat(len(some))
        parts.append(task.score({"logits": copies}, answer).exp().reshape(len(some), classes))
    return torch.cat(parts) if rows else logits


def _who(row: Example, prediction: Any) -> dict[str, Any]:
    """What tells a row's answer from others: its id and file, and where boxes answer a caption that."""
    asked = {"caption": row["caption"]} if "caption" in row and has_boxes(prediction) else {}
    return {"id": row["id"], **_file(row), **asked}


def _rounded(prediction: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in prediction.items()}


def _beside(row: Example) -> dict[str, Any]:
    """The files that were compared, and what made the picture where it was made of the reference."""
    files = {role: row[role] for role in ("image", "reference", "other") if isinstance(row.get(role), str)}
    made = row.get("distortion")
    return files | ({name: made[name] for name in ("kind", "level")} if isinstance(made, Mapping) else {})


def _file(row: Example) -> dict[str, Any]:
    image = row.get("image")
    if "reference" in row:
        return {}  # told by both names
    if "video" in row and "frame" not in row:
        return filming.told(row)
    if "video" in row:
        return {"path": row["video"], "frame": row["frame"], "time_s": row["time_s"]}
    return {"path": image} if isinstance(image, str) and image != row["id"] else {}


def _plain(prediction: Any) -> Any:
    """The labels alone, where a prediction holds more."""
    return prediction["labels"] if isinstance(prediction, Mapping) and "labels" in prediction else prediction


def write_csv(rows: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
    """The answers as a table, a row for each box and each class of a map (`lines_of`).

    Several labels are parted by `|`, each label's probability has a column `p(LABEL)`. Of a written sequence the table has the text.
    """
    flat = [line for row in rows for line in (lines_of(row) if has_boxes(row) or has_map(row) else [_flat(row)])]
    columns = list(dict.fromkeys([*(key for row in flat for key in row), *columns_of(rows)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(path, text.getvalue())


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    shares = {f"p({label})": share for label, share in row.get("probs", {}).items()}
    words = {key: v["text"] if isinstance(v, Mapping) and "text" in v else v for key, v in row.items()}
    plain = {key: "|".join(map(str, v)) if isinstance(v, (list, tuple)) else v for key, v in words.items() if key != "probs"}
    return {**plain, **shares}
