"""CLEVR's questions and CLEVR-Ref+'s expressions: which objects of the scene they name, with which words."""

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from pellucid.data import sources
from pellucid.data.grounding import programs
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding.modulated import answer_kind
from pellucid.data.grounding.programs import Unclear
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows, log
from pellucid.errors import BadData

OPTIONS: sources.Choices = {**shared.OPTIONS, "split": (), "subset": ("all", "medium"), "unclear": ("drop", "refuse")}
SIZE = (480, 320)
_FOCAL = SIZE[0] * 35 / 32  # pixels: Blender's lens of 35 mm before a sensor of 32
_PITCH = math.asin(5.34 / math.hypot(7.48, 6.51, 5.34))  # how steeply Blender's camera looks down from where it stands
_RADIUS = {"large": 0.7, "small": 0.35}
_TYPES = {"equal_integer": "compare number", "less_than": "compare number", "greater_than": "compare number"}


def questions(place: str, options: Mapping[str, str]) -> Rows:
    """A row per question of CLEVR, with `answer` (type binary, attr or reg) and `question_type` (count, exist, query and so on).

    Objects are those that the question's program finds at its unique, exist and count steps, and their spans the noun phrases of the
    question with these attributes. Questions of which it is not clear which phrase is meant are left out, and the count told.

    A set without programs or scenes, as the test set and CLEVR-Humans, has questions and answers alone.

    Args:
        place: the folder of `questions`, `scenes` and `images`, or a file of questions.
        options: `split`, val unless told; `subset=medium` keeps questions that name each object once at most; `images`, the folder of a
            split's pictures; `unclear=refuse`; those of all groundings.
    Raises:
        BadData: a file is missing, or a program and its scene contradict each other.
    Differs: the published boxes belong to a project that is not CLEVR's; boxes are an object's `bbox` ([x, y, width, height]) where the
        scenes have it, else an estimate from its place, depth and size. The authors find spans by templates, we by attributes.
    """
    chosen, split = sources.checked("clevr", options, OPTIONS), options.get("split", "val")
    root, file = _place(place, f"questions/CLEVR_{split}_questions.json")
    scenes = _scenes(root / f"scenes/CLEVR_{split}_scenes.json")
    folder = shared.folder_of_pictures(chosen, root, f"images/{split}", "images")
    tree, found, unclear = sources.read_json(file), [], []
    for number, question in enumerate(shared.listed(tree, "questions", file)):
        where = f"{file.name}:{question.get('question_index', number)}"
        name, caption = shared.picked(question, ("image_filename", "question"), where)
        scene = Scene(where, sources.inside(folder, name, where), caption, f"clevr/{pathlib.Path(name).stem}", SIZE, True)
        row = scene.row(()) | _reply(question, where)
        if question.get("program") and name in scenes:
            try:
                named = programs.named(caption, question["program"], scenes[name], where)
            except Unclear as reason:
                unclear.append(str(reason))
                continue
            if chosen.get("subset") == "medium" and _twice(named):
                continue
            row["objects"] = _objects(scene, programs.spans_of_objects(named), scenes[name])
        found.append(row)
    _tell(unclear, len(unclear) + len(found), str(file), chosen)
    return shared.finished(found, chosen, place)


def expressions(place: str, options: Mapping[str, str]) -> Rows:
    """A row per expression of CLEVR-Ref+, with `final` on each object: whether it is what the whole caption asks for.

    An `expression`, by which precision is measured, is one that asks for one object.

    What the last step of its program finds, or its `_output` where it has one, is what it asks for; others are not final.

    Args:
        place: the folder of `refexps`, `scenes` and `images`, or a file of expressions.
        options: as of CLEVR, without `subset`.
    Raises:
        BadData: as of CLEVR.
    Differs: the names of files and fields are those of the published program; the files were not at hand. Boxes are `obj_bbox` of a scene
        where it has it, else as in CLEVR.
    """
    known = {key: values for key, values in OPTIONS.items() if key != "subset"}
    chosen, split = sources.checked("clevr-ref", options, known), options.get("split", "val")
    root, file = _place(place, f"refexps/clevr_ref+_{split}_refexps.json")
    names = (f"scenes/clevr_ref+_{split}_scenes.json", f"scenes/CLEVR_{split}_scenes.json")
    scenes = _scenes(next((root / name for name in names if (root / name).is_file()), root / names[0]))
    folder = shared.folder_of_pictures(chosen, root, f"images/{split}", "images")
    tree, found, unclear = sources.read_json(file), [], []
    for number, entry in enumerate(shared.listed(tree, "refexps", file)):
        where = f"{file.name}:{entry.get('refexp_index', number)}"
        name, caption, program = shared.picked(entry, ("image_filename", "refexp", "program"), where)
        scene = Scene(where, sources.inside(folder, name, where), caption, f"clevr/{pathlib.Path(name).stem}", SIZE, True)
        picture = shared.picked({"scene": scenes.get(name)}, ("scene",), f"{where}: {name}")[0]
        try:
            named = programs.named(caption, program, picture, where, final=True)
        except Unclear as reason:
            unclear.append(str(reason))
            continue
        asked = set(programs.asked(program, picture, where))
        row = scene.row(())
        row["objects"] = _objects(scene, programs.spans_of_objects(named), picture, asked)
        found.append(row | ({"expression": True} if sum(o["final"] for o in row["objects"]) == 1 else {}))
    _tell(unclear, len(unclear) + len(found), str(file), chosen)
    return shared.finished(found, chosen, place)


def _place(place: str, usual: str) -> tuple[pathlib.Path, pathlib.Path]:
    path = pathlib.Path(place).expanduser()
    if path.is_file():
        return (path.parent.parent if path.parent.name in ("questions", "refexps") else path.parent), path
    root = sources.folder_of(place)
    return root, root / usual


def _scenes(file: pathlib.Path) -> dict[str, Any]:
    """Scenes by the name of their picture; none where there is no file, as of the test set."""
    if not file.is_file():
        return {}
    return {scene["image_filename"]: scene for scene in shared.listed(sources.read_json(file), "scenes", file)}


def _reply(question: Mapping[str, Any], where: str) -> dict[str, Any]:
    if question.get("answer") is None:
        return {}
    value = str(question["answer"])
    try:
        found: dict[str, Any] = {"answer": {"type": answer_kind(value), "value": value}}
    except BadData as error:
        raise BadData(f"{where}: {error}") from None
    if question.get("program"):
        last = programs.kind_of(question["program"][-1])
        compare = "compare attribute" if last.startswith("equal_") else last.split("_")[0]
        found["question_type"] = _TYPES.get(last, compare)
    return found


def _twice(named: Sequence[programs.Named]) -> bool:
    """Whether an object is named more than once."""
    return sources.repeated(i for one in named for i in one.objects) is not None


def _tell(unclear: Sequence[str], num: int, place: str, chosen: Mapping[str, str]) -> None:
    if not unclear:
        return
    if chosen.get("unclear") == "refuse":
        raise BadData(f"{place}: {unclear[0]}")
    log.warning("%s: %d of %d captions are left out, first %s", place, len(unclear), num, unclear[0])


# ---- boxes ----------------------------------------------------------------------------------------------------------


def _objects(
    scene: Scene, spans: Mapping[int, list[list[int]]], picture: Mapping[str, Any], asked: set[int] | None = None
) -> list[dict[str, Any]]:
    found = []
    for index in sorted(spans):
        thing = picture["objects"][index]
        label = f"{thing['size']} {thing['color']} {thing['material']} {thing['shape']}"
        final = {} if asked is None else {"final": index in asked}
        found.append(scene.object(_box(picture, index, scene.where), spans[index], label, **final))
    return found


def _box(picture: Mapping[str, Any], index: int, where: str) -> list[float]:
    thing = picture["objects"][index]
    told = picture.get("obj_bbox") or {}
    given = thing.get("bbox") or told.get(str(thing.get("idx", index + 1)))
    return shared.corners(given, f"{where}: object {index}") if given else estimated(thing, picture["directions"]["right"])


def estimated(thing: Mapping[str, Any], right: Sequence[float]) -> list[float]:
    """About where an object of a scene is seen: what its size covers at its depth, from a camera that looks down by Blender's angle.

    Args:
        right: the direction in the scene that is seen as to the right.
    """
    x, y, depth = thing["pixel_coords"]
    radius = _RADIUS[thing["size"]]
    down, flat = math.sin(_PITCH), math.cos(_PITCH)
    if thing["shape"] == "sphere":
        across = tall = radius
    elif thing["shape"] == "cylinder":
        across, tall = radius, radius * (flat + down)
    else:
        turn = math.radians(thing["rotation"]) - math.atan2(right[1], right[0])
        side = radius / math.sqrt(2)
        across = side * (abs(math.cos(turn)) + abs(math.sin(turn)))
        tall = side * flat + across * down
    scale = _FOCAL / depth
    return [x - across * scale, y - tall * scale, x + across * scale, y + tall * scale]
