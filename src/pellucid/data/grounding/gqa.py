"""GQA: questions whose words point at objects of Visual Genome's scene graphs."""

import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pellucid.data import sources
from pellucid.data.grounding import genome
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding.rows import Scene
from pellucid.data.grounding.spans import find, whole_words
from pellucid.data.sources import Rows
from pellucid.errors import BadData

OPTIONS: sources.Choices = {**shared.OPTIONS, "split": (), "type": ("balanced", "all"), "graphs": ()}
TYPES = ("obj", "attr", "rel", "global", "cat")
_SELECTED = re.compile(r"\s*([^()]*?)\s*\((\d+(?:\s*,\s*\d+)*)\)\s*")  # `table (123)`: a name and objects
_ASKED = ("what", "who", "where")  # the word that an answer's box is shown for


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per question, with `answer` (type obj, attr, rel, global or cat, and value) and `question_type`, the same type.

    Objects are those that words of the question point at, those that the program selects by a name that the question has, and those of the
    answer, for the word what, who or where. A question that points at nothing has none, nor have those of sets without scene graphs.

    Args:
        place: the folder of `SPLIT_balanced_questions.json` and `SPLIT_sceneGraphs.json` (or these in `questions` and `sceneGraphs`), or a
            file of questions.
        options: `split`, val unless told; `type=all` for all questions instead of the balanced ones; `graphs`, the file of scene graphs;
            `images`, the folder of the pictures; those of all groundings. Where `image_data.json` of Visual Genome lies in the folder,
            `group` tells which pictures are COCO's.
    Raises:
        BadData: a file is missing, or a question is not what it should be, with its id.
    Differs: of several words that point at one object, one object has all spans; the authors' files have it once for each.
    """
    chosen = sources.checked("gqa", options, OPTIONS)
    path = pathlib.Path(place).expanduser()
    root = path.parent if path.is_file() else sources.folder_of(place)
    split = chosen.get("split", "val")
    files = [path] if path.is_file() else _files(root, split, chosen.get("type", "balanced"))
    graphs = _graphs(root, split, chosen)
    folders, about = genome.Folders(chosen, root), _about(root)
    found: Rows = []
    for file in files:
        for key, question in _questions(file):
            where = f"{file.name}:{key}"
            number, caption = shared.picked(question, ("imageId", "question"), where)
            graph = graphs.get(number)
            size = shared.size_of(graph, f"{where}: scene graph {number}") if graph else None
            group = genome.group_of(number, about.get(str(number)))
            scene = Scene(where, folders.find(number), caption, group, size, chosen.get("boxes") == "clip")
            found.append(_row(scene, question, graph) | {"question": key, "image_id": number})
    return shared.finished(found, chosen, place)


def _about(root: pathlib.Path) -> dict[str, dict[str, Any]]:
    """What Visual Genome's `image_data.json` tells of the pictures by number, where it lies beside."""
    file = root / "image_data.json"
    return {str(number): entry for number, entry in genome.images_of(file).items()} if file.is_file() else {}


def _files(root: pathlib.Path, split: str, kind: str) -> list[pathlib.Path]:
    name = f"{split}_{kind}_questions"
    for folder in (root, *sorted(root.glob("questions*"))):
        if (folder / f"{name}.json").is_file():
            return [folder / f"{name}.json"]
        if parts := sorted((folder / name).glob(f"{name}_*.json")):
            return parts
    raise BadData(f"{root}: no {name}.json, here or in questions/; name a split with ?split=, or the file")


def _graphs(root: pathlib.Path, split: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    if "graphs" in chosen:
        return sources.read_json(pathlib.Path(chosen["graphs"]).expanduser())
    there = (root / folder / f"{split}_sceneGraphs.json" for folder in ("", "sceneGraphs", "scene_graphs"))
    file = next((path for path in there if path.is_file()), None)
    if file is None and split in ("train", "val"):
        raise BadData(f"{root}: no {split}_sceneGraphs.json, where the boxes are; name it with ?graphs=FILE")
    return sources.read_json(file) if file else {}


def _questions(file: pathlib.Path) -> Iterator[tuple[str, Any]]:
    tree = sources.read_json(file)
    if not isinstance(tree, dict):
        raise BadData(f"{file}: expected an object of questions by id")
    yield from tree.items()


def _row(scene: Scene, question: Mapping[str, Any], graph: Mapping[str, Any] | None) -> dict[str, Any]:
    row = scene.row(())
    kind, value = (question.get("types") or {}).get("semantic"), question.get("answer")
    if value is not None:
        if kind not in TYPES:
            raise BadData(f"{scene.where}: the semantic type is {kind!r}; expected one of {', '.join(TYPES)}")
        row |= {"answer": {"type": kind, "value": str(value)}, "question_type": kind}
    if graph is None:
        return row
    spans: dict[str, list[list[int]]] = {}
    for key, span in _pointed(scene, question):
        spans.setdefault(key, []).append(span)
    for key, several in spans.items():
        if key not in graph.get("objects", {}):
            raise BadData(f"{scene.where}: object {key!r} is not in the scene graph of picture {question['imageId']}")
        name, *sides = shared.picked(graph["objects"][key], ("name", "x", "y", "w", "h"), f"{scene.where}: object {key}")
        cleaned = whole_words(several, scene.caption)
        if cleaned:
            row["objects"].append(scene.object(shared.corners(sides, scene.where), cleaned, name))
    return row


def _pointed(scene: Scene, question: Mapping[str, Any]) -> Iterator[tuple[str, list[int]]]:
    """Objects and the characters that they are shown for."""
    annotations = question.get("annotations") or {}
    told = set()
    for words, key in (annotations.get("question") or {}).items():
        told.add(key)
        yield key, _characters(words, scene)
    for step in question.get("semantic") or ():
        match = _SELECTED.fullmatch(str(step.get("argument"))) if step.get("operation") == "select" else None
        hits = find(match[1], scene.caption) if match else []
        for key in re.findall(r"\d+", match[2]) if match and hits else ():
            if key not in told:
                told.add(key)
                yield key, hits[0]
    asked = next((hits[0] for word in _ASKED if (hits := find(word, scene.caption))), None)
    for key in dict.fromkeys((annotations.get("answer") or {}).values()):
        if key not in told and asked:
            yield key, asked


def _characters(words: str, scene: Scene) -> list[int]:
    """`4`, the fifth word between spaces, or `4:6`, two words from there."""
    places = [match.span() for match in re.finditer(r"\S+", scene.caption)]
    first, _, after = words.partition(":")
    try:
        start, stop = int(first), int(after) if after else int(first) + 1
    except ValueError:
        start, stop = -1, -1
    if not 0 <= start < stop <= len(places):
        raise BadData(f"{scene.where}: annotation of the words {words!r}; the question has {len(places)}")
    return [places[start][0], places[stop - 1][1]]
