"""PASCAL VOC: which of twenty classes a picture has, and the objects in it."""

import pathlib
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from typing import Any
from xml.parsers import expat

from pellucid.data import sources, voc_maps
from pellucid.data.sources import Rows, log
from pellucid.errors import BadData, UnsafeInput

_ANIMALS = ("bird", "cat", "cow", "dog", "horse", "person", "sheep")
_RIDDEN = ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train")
_INDOORS = ("bottle", "chair", "diningtable", "pottedplant", "sofa", "tvmonitor")
CLASSES = tuple(sorted(_ANIMALS + _RIDDEN + _INDOORS))  # VOC's own order is that of the alphabet
OPTIONS: sources.Choices = {
    "set": (),
    "year": (),
    "classes": (),
    "missing": ("refuse", "skip"),
    "lists": ("Main", "Segmentation"),
    "maps": ("no", "yes", "only"),
    "boxes": ("yes", "some", "no"),
    "sbd": (),
}
_SAY = "expected a name, and xmin to xmax and ymin to ymax inside the picture, counted from 1"
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_STATES = {"1": "labels", "0": "unknown", "-1": ""}


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture with `labels`, `unknown` (classes of which it has only difficult objects: they count neither way) and `classes`.

    Where `Annotations/` is there: `width`, `height` and `objects` with `label`, `box_xyxy` in pixels, `area` (the box's), `crowd` (never),
    `difficult`, `truncated` and an `id`; `image_id` and `id` count pictures and objects of the set from 1, `category_ids` the classes.
    The files count pixels from 1 and name the last one inside; our boxes run from 0 to its far edge.
    With `maps`, of pictures that have one, `map`: the file of the class of each pixel, in the order of `classes` (`map_sources`).

    Args:
        place: the folder of `ImageSets`, or one around it (`VOCdevkit`, with `year`).
        options: `set` train, val, trainval or test, or train_aug, all that SBD and VOC's own list have maps of but those of `val`; `year`,
            or several as 2007,2012; `classes`, a file of names where they are not VOC's or the files' own, in the order of the maps'
            indices; `missing=skip` leaves out pictures without a file; `lists=Segmentation` reads the lists of pictures with maps;
            `maps=yes` gives maps where there are some, `maps=only` leaves out pictures without; `boxes=some` lets pictures with a map
            be without annotation, of which the row then has no `objects`, and `boxes=no` reads none; `sbd`, the folder of SBD.
    Raises:
        BadData: a file is missing or damaged, or the lists contradict each other.
        UnsafeInput: an annotation that defines entities.
    """
    chosen = sources.checked("voc", options, OPTIONS)
    years = chosen.get("year", "").split(",")
    if len(years) > 1:
        return _joined([read(place, {**chosen, "year": year}) for year in years], place)
    root, part = _root(sources.folder_of(place), chosen.get("year")), chosen.get("set", "trainval")
    lists = root / "ImageSets" / chosen.get("lists", "Main")
    aug = part == voc_maps.AUGMENTED
    tell = chosen.get("lists") != "Segmentation" and not aug
    per_class = {p.name.removesuffix(f"_{part}.txt"): p for p in sorted(lists.glob(f"*_{part}.txt"))} if tell else {}
    names = voc_maps.augmented(root, chosen.get("sbd")) if aug else _members(lists, part, per_class)
    maps = voc_maps.maps_of(root, names, chosen) if chosen.get("maps", "no") != "no" else {}
    if chosen.get("maps") == "only":
        names = [name for name in names if name in maps]
    trees = _trees(root, names, chosen.get("boxes", "yes"), maps)
    classes = _classes(chosen, per_class, trees)
    states = _states(per_class, names, classes) if per_class else {name: _from_objects(tree["objects"]) for name, tree in trees.items()}
    if not states and not maps:
        raise BadData(f"{root}: neither {lists.name}/CLASS_{part}.txt nor Annotations; no labels to read")
    category_ids = tuple(range(1, len(classes) + 1))
    rows: Rows = [
        {
            "id": f"{root.name}:{name}",
            "image": sources.inside(str(root / "JPEGImages"), f"{name}.jpg", f"{lists}/{part}.txt"),
            **_told(states.get(name), classes),
            "classes": classes,
            "category_ids": category_ids,
            "image_id": number,
            **trees.get(name, {}),
            **({"map": maps[name]} if name in maps else {}),
        }
        for number, name in enumerate(names, 1)
    ]
    _number([o for tree in trees.values() for o in tree["objects"]])
    return sources.with_pictures(rows, chosen.get("missing", "refuse"), str(root))


def _joined(sets: Sequence[Rows], place: str) -> Rows:
    """Several years as one set, its pictures and objects counted anew."""
    rows = [row for one in sets for row in one]
    if len({row["classes"] for row in rows}) > 1:
        raise BadData(f"{place}: the years have other classes; name them with ?classes=FILE")
    _number([o for row in rows for o in row.get("objects", ())])
    return [{**row, "image_id": number} for number, row in enumerate(rows, 1)]


def _root(folder: pathlib.Path, year: str | None) -> pathlib.Path:
    """The folder that holds ImageSets."""
    if (folder / "ImageSets").is_dir():
        return folder
    bases = [folder, folder / "VOCdevkit"]
    there = {p.parent.name.removeprefix("VOC"): p.parent for base in bases for p in sorted(base.glob("VOC*/ImageSets"))}
    if year is None and len(there) == 1:
        return next(iter(there.values()))
    if year not in there:
        said = f"no VOC{year}" if year else "several years" if there else "no ImageSets folder"
        raise BadData(f"{folder}: {said}" + (f"; choose one with ?year=, of {', '.join(there)}" if there else ""))
    return there[year]


def _members(lists: pathlib.Path, part: str, per_class: Mapping[str, pathlib.Path]) -> list[str]:
    """Names of the set's pictures, without ending."""
    file = lists / f"{part}.txt"
    if not file.is_file() and not per_class:
        there = sorted(p.stem for p in lists.glob("*.txt") if "_" not in p.stem)
        raise BadData(f"no file {file}; choose one with ?set=, of {', '.join(there) or 'none'}")
    return voc_maps.names_of(file if file.is_file() else next(iter(per_class.values())))


def _trees(root: pathlib.Path, names: Sequence[str], boxes: str, maps: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What the annotations say, by picture, of those that have one; only one with a map may be without, and only where asked for."""
    folder = root / "Annotations"
    if boxes == "no" or not folder.is_dir():
        return {}
    listing = sources.Listing()
    wanted = [name for name in names if boxes == "yes" or name not in maps or listing.has(f"{folder}/{name}.xml")]
    lost = next((name for name in wanted if name in maps and not listing.has(f"{folder}/{name}.xml")), None)
    if lost is not None:
        raise BadData(f"no file {folder}/{lost}.xml; the picture has a map, and may be without where ?boxes=some is asked for")
    return {name: _annotation(folder / f"{name}.xml") for name in wanted}


def _told(states: Mapping[str, str] | None, classes: Sequence[str]) -> dict[str, list[str]]:
    """`labels` and `unknown` of a picture; nothing of one whose classes nobody tells."""
    return {} if states is None else {state: [c for c in classes if states.get(c) == state] for state in ("labels", "unknown")}


def _classes(chosen: Mapping[str, str], per_class: Mapping[str, Any], trees: Mapping[str, dict[str, Any]]) -> tuple[str, ...]:
    """The classes: as asked, as the files name them, VOC's twenty in VOC's order."""
    if "classes" in chosen:
        return sources.ordered(sources.class_names(chosen["classes"]))
    found = set(per_class) or {o["label"] for tree in trees.values() for o in tree["objects"]}
    return CLASSES if found <= set(CLASSES) else tuple(sorted(found))


def _states(per_class: Mapping[str, pathlib.Path], names: Sequence[str], classes: Sequence[str]) -> dict[str, dict[str, str]]:
    """Picture -> class -> labels, unknown, or nothing."""
    states: dict[str, dict[str, str]] = {name: {} for name in names}
    for label in classes:
        if label not in per_class:
            raise BadData(f"no list for class {label!r} beside {next(iter(per_class.values()))}")
        file, seen = per_class[label], set()
        for number, line in enumerate(sources.read_text(file).splitlines(), 1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != 2 or fields[1] not in _STATES:
                raise BadData(f"{file} line {number}: {line[:60]!r}; expected a picture's name and -1, 0 or 1")
            if fields[0] not in states:
                raise BadData(f"{file} line {number}: picture {fields[0]} is not in the set")
            states[fields[0]][label] = _STATES[fields[1]]
            seen.add(fields[0])
        if len(seen) < len(names):
            lost = next(name for name in names if name not in seen)
            raise BadData(f"{file}: picture {lost} is missing, which the set has ({len(names) - len(seen)} in all)")
    return states


def _from_objects(objects: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A class of which all objects are difficult is unknown."""
    sure = {o["label"] for o in objects if not o["difficult"]}
    return {o["label"]: "labels" if o["label"] in sure else "unknown" for o in objects}


# ---- annotations --------------------------------------------------------------------------------------------------


def _annotation(path: pathlib.Path) -> dict[str, Any]:
    """Width, height and objects of one picture."""
    root = xml_root(path)
    width, height = (int(x) for x in _numbers(root, "size", ("width", "height"), path))
    if width < 1 or height < 1:
        raise BadData(f"{path}: the size is {width} x {height}; expected that of the picture")
    objects = [_object(o, width, height, path) for o in root.findall("object")]
    whole = [o for o in objects if o["area"] > 0]
    if len(whole) < len(objects):
        # the files may name a pixel one past the edge: of such an object nothing is left
        log.warning("%s: %d objects lie past the edge of the picture and are left out", path, len(objects) - len(whole))
    thin = [o for o in whole if o["area"] <= 1]
    if thin:
        log.warning(
            "%s: the box of a %s is one pixel; it counts where it is measured, and views for training leave it out", path, thin[0]["label"]
        )
    return {"width": width, "height": height, "objects": whole}


def _number(objects: list[dict[str, Any]]) -> None:
    """Gives each object of a set an id."""
    for number, found in enumerate(objects, 1):
        found["id"] = number


def _object(found: ElementTree.Element, width: int, height: int, path: pathlib.Path) -> dict[str, Any]:
    label = found.findtext("name", "").strip()
    x0, y0, x1, y1 = _numbers(found, "bndbox", ("xmin", "ymin", "xmax", "ymax"), path)
    if not label or not (0 <= x0 <= x1 <= width + 1 and 0 <= y0 <= y1 <= height + 1):
        raise BadData(f"{path}: object {label!r} has the box {x0:g}, {y0:g}, {x1:g}, {y1:g} in a picture of {width} x {height}; {_SAY}")
    box = [max(x0 - 1, 0.0), max(y0 - 1, 0.0), min(x1, float(width)), min(y1, float(height))]
    flags = {flag: found.findtext(flag, "0").strip() == "1" for flag in ("difficult", "truncated")}
    return {"label": label, "box_xyxy": box, "area": (box[2] - box[0]) * (box[3] - box[1]), "crowd": False, **flags}


def _numbers(found: ElementTree.Element, name: str, sides: Sequence[str], path: pathlib.Path) -> list[float]:
    """The numbers of a direct child: the parts of a person have boxes of their own."""
    texts = {side: found.findtext(f"{name}/{side}", "").strip() for side in sides}
    for side, text in texts.items():
        if not _NUMBER.fullmatch(text):
            said = f"{name}/{side} is {text!r}" if text else f"no {name}/{side}"
            raise BadData(f"{path}: {said}; expected a number of pixels, <{name}><{side}>40</{side}>...</{name}>")
    return [float(text) for text in texts.values()]


def xml_root(path: pathlib.Path) -> ElementTree.Element:
    """The root of an XML file that defines no entities, which could unpack without end or name other files."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise BadData(f"no file {path}") from None

    def refuse(*_: Any) -> None:
        raise UnsafeInput(f"{path}: defines a document type; refused")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(raw, True)
        return ElementTree.fromstring(raw)
    except (expat.ExpatError, ElementTree.ParseError) as error:
        raise BadData(f"{path}: not XML ({error}); fetch it again, or leave the picture out of the list") from None
