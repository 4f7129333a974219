"""Videos in folders, and UCF101 and HMDB51 by their official splits; a video is a file, or a folder of its frames."""

import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from pellucid.coerce import nearest
from pellucid.data import folders, sources
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

FOLDS: sources.Choices = {"split": ("train", "test"), "fold": ("1", "2", "3"), "videos": (), "missing": ("refuse", "skip")}
EXPECTED = f"files ending in {', '.join(sources.VIDEO_ENDINGS[:5])} ..., or folders of img_00001.jpg ..."
_FRAME = re.compile(r"((img|image|frame)_?|flow_x_|x_)\d+\.(jpe?g|png)", re.IGNORECASE)
_FLAGS = {"train": "1", "test": "2"}
_UCF_CLIP = re.compile(r"(?:([^/]+)/)?(v_(\w+)_(g\d+)_c\d+)(?:\.\w+)?(?:\s+(\d+))?")
_HMDB_CLIP = re.compile(r"([^/\\]+?)(?:\.\w+)?\s+([012])")
_HMDB_LIST = re.compile(r"(.+)_test_split[123]\.txt")
_HMDB_ENDING = r"_[a-z]_[a-z]m_np\d+_[a-z]{2}_[a-z]{3}_\d+"  # visible part, camera, people, side, quality, number


def videos(place: str, options: Mapping[str, str]) -> Rows:
    """A row per video: its path and, where there are class folders, its folder's name as `label`.

    A folder of `img_00001.jpg`, `img_00002.jpg` ... is one video, and whatever else it holds, as flow, belongs to it.

    Args:
        options: those of `folder`.
    Raises:
        BadData: no videos, an empty class folder, videos beside class folders, several splits and none chosen.
    """
    chosen = sources.checked("videos", options, folders.OPTIONS)
    root = folders.chosen_split(sources.folder_of(place), chosen.get("split"))
    files, below = folders.walk(root, is_frames)
    kept = folders.of_kind(files, str(root), "videos", lambda name: name.endswith("/") or sources.is_video(name), EXPECTED)
    pairs = folders.arrange([name.removesuffix("/") for name in kept], below, chosen, str(root), "videos")
    rows: Rows = [{"id": f"{root.name}/{name}", "video": f"{root}/{name}"} for name, _ in pairs]
    return folders.label(rows, [folder for _, folder in pairs], chosen)


def is_frames(names: Sequence[str]) -> bool:
    """Whether the files of a folder are frames of a video (img_00001.jpg, frame000001.jpg, or flow alone), and none is a video itself."""
    return any(_FRAME.fullmatch(name) for name in names) and not any(sources.is_video(name) for name in names)


def ucf101(place: str, options: Mapping[str, str]) -> Rows:
    """The clips of one official split of UCF101; the group is a class's gNN, which the splits keep together.

    Args:
        place: the folder of `ucfTrainTestlist` (or `annotations`) and `UCF-101` (or `videos`, `rawframes`).
        options: `split` train or test; `fold` 1, 2 or 3; `videos`, the folder of the clips, which lie in class folders or flat, as files
            of any ending or folders of frames; `missing=skip` leaves out clips that are not there.
    Raises:
        BadData: a list is missing or damaged, a class is unknown, a clip is listed twice or is not there.
    """
    chosen, split = _fold("ucf101", options)
    root = sources.folder_of(place)
    lists = _lists(root, ("ucfTrainTestlist", "annotations", "."), re.compile(r"classInd\.txt"), "ucfTrainTestlist/classInd.txt")
    names = _class_index(lists / "classInd.txt")
    file = lists / f"{split}list0{chosen.get('fold', '1')}.txt"
    stock = Stock(places(root, chosen, ("UCF-101", "UCF101", "videos", "rawframes", "frames")))
    classes, rows = tuple(names.values()), []
    known = {name.lower(): name for name in classes}  # files of HandstandPushups are called v_HandStandPushups
    for where, line in _numbered(file):
        match = _UCF_CLIP.fullmatch(line.replace("\\", "/"))
        if not match:
            raise BadData(f"{where}: {line[:60]!r}; expected a clip as UCF101 names them, Class/v_Class_g01_c01.avi")
        said = match[1] or match[3]
        label = known.get(said.lower())
        if label is None:
            raise BadData(f"{where}: class {said!r} is not in classInd.txt{nearest(said, list(classes))}")
        if match[5] and names.get(match[5]) != label:
            raise BadData(f"{where}: {label} with the number {match[5]}, which is {names.get(match[5], 'none')} in classInd.txt")
        path = stock.find(f"{label}/{match[2]}", match[2]) or stock.expected(f"{label}/{match[2]}.avi")
        rows.append({"id": where, "video": path, "label": label, "group": f"ucf101/{label}/{match[4]}", "classes": classes})
    return finished(rows, chosen, str(file))


def hmdb51(place: str, options: Mapping[str, str]) -> Rows:
    """The clips of one official split of HMDB51, as the lists of its classes flag them.

    The group is the film that a clip of a class was cut from, which clips' names begin with; a clip with another kind of name is its
    own group. The lists part films by class alone: one may give training clips to a class and test clips to another. Should a list
    part a film, the sides are two groups.

    Args:
        place: the folder of `testTrainMulti_7030_splits` (or `annotations`) and of the class folders, perhaps in `hmdb51_org` or `videos`.
        options: as of `ucf101`.
    Raises:
        BadData: a list is missing or damaged, a clip is listed twice or is not there.
    """
    chosen, split = _fold("hmdb51", options)
    root = sources.folder_of(place)
    usual = ("testTrainMulti_7030_splits", "test_train_splits", "splits", "annotations", ".")
    lists = _lists(root, usual, _HMDB_LIST, "testTrainMulti_7030_splits/CLASS_test_split1.txt")
    classes = tuple(sorted({match[1] for name in os.listdir(lists) if (match := _HMDB_LIST.fullmatch(name))}))
    stock = Stock(places(root, chosen, ("hmdb51_org", "videos", "rawframes", "frames")))
    rows: Rows = []
    for label in classes:
        file = lists / f"{label}_test_split{chosen.get('fold', '1')}.txt"
        listed = _flagged(file)
        sides: dict[str, set[str]] = {}
        for _, name, flag in listed:
            sides.setdefault(_film(name, label), set()).add(flag)
        for where, name, flag in listed:
            if flag != _FLAGS[split]:
                continue
            film = _film(name, label)
            group = f"hmdb51/{label}/{film}" + (f"/{split}" if {"1", "2"} <= sides[film] else "")
            path = stock.find(f"{label}/{name}", name) or stock.expected(f"{label}/{name}.avi")
            rows.append({"id": where, "video": path, "label": label, "group": group, "classes": classes})
    return finished(rows, chosen, str(lists))


# ---- where videos lie ---------------------------------------------------------------------------------------------


class Stock:
    """Videos found by name without ending, whatever its case: files, or folders of frames; each folder is listed once.

    Args:
        roots: folders to look in, the first first.
    """

    def __init__(self, roots: Sequence[str]):
        self.roots = roots
        self.entries: dict[str, tuple[dict[str, str], dict[str, str]]] = {}

    def find(self, *names: str) -> str | None:
        """The path of the first of these names that a root has; a file comes before a folder."""
        return next((found for root in self.roots for name in names if (found := self._in(root, name))), None)

    def expected(self, name: str) -> str:
        """Where messages say that a video should be."""
        return f"{self.roots[0]}/{name}"

    def _in(self, folder: str, name: str) -> str | None:
        *above, last = name.split("/")
        for part in above:
            entry = self._listed(folder)[0].get(part) or self._listed(folder)[0].get(part.lower())
            if entry is None:
                return None
            folder = f"{folder}/{entry}"
        below, files = self._listed(folder)
        entry = next((entry for key in (last, last.lower()) for found in (files, below) if (entry := found.get(key))), None)
        return f"{folder}/{entry}" if entry else None

    def _listed(self, folder: str) -> tuple[dict[str, str], dict[str, str]]:
        """Its folders by name and its video files by name without ending, both also in lower case."""
        if folder not in self.entries:
            names = sorted(os.scandir(folder), key=lambda entry: entry.name) if os.path.isdir(folder) else []
            below = {entry.name: entry.name for entry in names if entry.is_dir()}
            files = {os.path.splitext(entry.name)[0]: entry.name for entry in names if sources.is_video(entry.name)}
            self.entries[folder] = _any_case(below), _any_case(files)
        return self.entries[folder]


def _any_case(found: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): entry for key, entry in found.items()} | dict(found)


def places(root: pathlib.Path, options: Mapping[str, str], usual: Iterable[str]) -> list[str]:
    """The folders that a set's videos may lie in: that of the option `videos`, or the usual ones that are there, and the root."""
    if "videos" in options:
        return [str(sources.folder_of(options["videos"]))]
    return [str(root / name) for name in usual if (root / name).is_dir()] + [str(root)]


def finished(rows: Rows, options: Mapping[str, str], place: str) -> Rows:
    """The rows of clips that are there, none of them twice.

    Raises:
        BadData: no rows, the same clip in two, or a clip that is not there and may not be skipped.
    """
    if not rows:
        raise BadData(f"{place}: lists no clip of this split")
    seen: dict[tuple[object, ...], str] = {}
    for row in rows:
        key = (row["video"], row.get("start_s"), row.get("end_s"))
        if key in seen:
            raise BadData(f"{row['id']}: the same clip as {seen[key]}, {os.path.basename(row['video'])}; leave one of the two out")
        seen[key] = row["id"]
    return sources.with_pictures(rows, options.get("missing", "refuse"), place, "video")


# ---- official lists -----------------------------------------------------------------------------------------------


def _fold(kind: str, options: Mapping[str, str]) -> tuple[dict[str, str], str]:
    chosen = sources.checked(kind, options, FOLDS)
    if "split" not in chosen:
        raise BadUsage(f"{kind}: choose a side with ?split=train or ?split=test, and &fold=1, 2 or 3")
    return chosen, chosen["split"]


def _lists(root: pathlib.Path, usual: Sequence[str], name: re.Pattern[str], expected: str) -> pathlib.Path:
    """The folder of the lists."""
    here = [root / folder for folder in usual if (root / folder).is_dir()]
    found = next((folder for folder in here if any(name.fullmatch(entry) for entry in os.listdir(folder))), None)
    if found is None:
        raise BadData(f"{root}: no {expected}; expected the set's official lists beside its videos")
    return found


def _numbered(file: pathlib.Path) -> list[tuple[str, str]]:
    """File and row, and the text, of each line that is not blank."""
    return [(f"{file.name}:{n}", line.strip()) for n, line in enumerate(sources.read_text(file).splitlines(), 1) if line.strip()]


def _class_index(file: pathlib.Path) -> dict[str, str]:
    """Number -> name, in the file's order."""
    found: dict[str, str] = {}
    for where, line in _numbered(file):
        number, _, name = line.partition(" ")
        if not number.isdecimal() or not name.strip() or number in found:
            raise BadData(f"{where}: {line[:60]!r}; expected the number of a class, each once, and its name")
        found[number] = name.strip()
    if not found or sources.repeated(found.values()) is not None:
        raise BadData(f"{file}: " + (f"two classes are called {sources.repeated(found.values())!r}" if found else "no classes"))
    return found


def _flagged(file: pathlib.Path) -> list[tuple[str, str, str]]:
    """File and row, name without ending and flag of each clip."""
    found = []
    for where, line in _numbered(file):
        match = _HMDB_CLIP.fullmatch(line)
        if not match:
            raise BadData(f"{where}: {line[:60]!r}; expected a clip's name and 1 (train), 2 (test) or 0 (neither)")
        found.append((where, match[1], match[2]))
    return found


def _film(name: str, label: str) -> str:
    """What a clip was cut from; its own name where that does not tell."""
    match = re.fullmatch(rf"(.+?)_{re.escape(label)}{_HMDB_ENDING}", name, re.IGNORECASE)
    return match[1] if match else name
