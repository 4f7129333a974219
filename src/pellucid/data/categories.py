"""Classes and the numbers that data sets know them by: COCO's, or those of a file."""

import json
import pathlib
from typing import Any

from pellucid.coerce import nearest
from pellucid.data.sources import repeated
from pellucid.errors import BadData, BadUsage

_THINGS = """
1 person, 2 bicycle, 3 car, 4 motorcycle, 5 airplane, 6 bus, 7 train, 8 truck, 9 boat, 10 traffic light, 11 fire hydrant, 13 stop sign,
14 parking meter, 15 bench, 16 bird, 17 cat, 18 dog, 19 horse, 20 sheep, 21 cow, 22 elephant, 23 bear, 24 zebra, 25 giraffe, 27
backpack, 28 umbrella, 31 handbag, 32 tie, 33 suitcase, 34 frisbee, 35 skis, 36 snowboard, 37 sports ball, 38 kite, 39 baseball bat, 40
baseball glove, 41 skateboard, 42 surfboard, 43 tennis racket, 44 bottle, 46 wine glass, 47 cup, 48 fork, 49 knife, 50 spoon, 51 bowl,
52 banana, 53 apple, 54 sandwich, 55 orange, 56 broccoli, 57 carrot, 58 hot dog, 59 pizza, 60 donut, 61 cake, 62 chair, 63 couch, 64
potted plant, 65 bed, 67 dining table, 70 toilet, 72 tv, 73 laptop, 74 mouse, 75 remote, 76 keyboard, 77 cell phone, 78 microwave, 79
oven, 80 toaster, 81 sink, 82 refrigerator, 84 book, 85 clock, 86 vase, 87 scissors, 88 teddy bear, 89 hair drier, 90 toothbrush
"""
_STUFF = """
92 banner, 93 blanket, 95 bridge, 100 cardboard, 107 counter, 109 curtain, 112 door-stuff, 118 floor-wood, 119 flower, 122 fruit, 125
gravel, 128 house, 130 light, 133 mirror-stuff, 138 net, 141 pillow, 144 platform, 145 playingfield, 147 railroad, 148 river, 149 road,
151 roof, 154 sand, 155 sea, 156 shelf, 159 snow, 161 stairs, 166 tent, 168 towel, 171 wall-brick, 175 wall-stone, 176 wall-tile, 177
wall-wood, 178 water-other, 180 window-blind, 181 window-other, 184 tree-merged, 185 fence-merged, 186 ceiling-merged, 187
sky-other-merged, 188 cabinet-merged, 189 table-merged, 190 floor-other-merged, 191 pavement-merged, 192 mountain-merged, 193
grass-merged, 194 dirt-merged, 195 paper-merged, 196 food-other-merged, 197 building-other-merged, 198 rock-merged, 199
wall-other-merged, 200 rug-merged
"""
NO_NAME = "N/A"  # what Hugging Face calls a number that no class has


def categories(given: str) -> dict[int, str]:
    """Names of classes by their numbers, in the numbers' order.

    Args:
        given: `coco`, the 80 classes of its instances, numbered 1 to 90 with gaps; `coco-panoptic`, with its stuff 133; or a file:
            a COCO JSON with `categories`, a Hugging Face config.json with `id2label`, or a text with a name on each line.
    Raises:
        BadUsage: no such file.
        BadData: the file names no classes, or two alike.
    """
    known = {"coco": _THINGS, "coco-panoptic": _THINGS.rstrip() + "," + _STUFF}
    if given in known:
        pairs = (entry.split(maxsplit=1) for entry in known[given].replace("\n", " ").split(","))
        return {int(number): name.strip() for number, name in pairs}
    file = pathlib.Path(given).expanduser()
    if not file.is_file():
        raise BadUsage(f"classes {given!r}: no such file{nearest(given, [*known, 'FILE'])}")
    return _checked(_of_file(file), file)


def _of_file(file: pathlib.Path) -> dict[int, Any]:
    text = file.read_text(encoding="utf-8", errors="replace")
    if file.suffix != ".json":
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    try:
        tree = json.loads(text)
        if isinstance(tree, dict) and isinstance(tree.get("categories"), list):
            twice = repeated(int(entry["id"]) for entry in tree["categories"])
            if twice is not None:
                raise BadData(f"{file}: two categories have the id {twice}")
            return {int(entry["id"]): entry["name"] for entry in tree["categories"]}
        return {int(number): name for number, name in tree["id2label"].items() if name != NO_NAME}
    except BadData:
        raise
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadData(f"{file}: no classes; expected COCO's list `categories` of id and name, or `id2label`") from None


def _checked(names: dict[int, Any], file: pathlib.Path) -> dict[int, str]:
    if not names:
        raise BadData(f"{file}: no classes")
    for number, name in names.items():
        if number < 0 or not isinstance(name, str) or not name:
            raise BadData(f"{file}: class {number} is called {name!r}")
    if repeated(names.values()) is not None:
        raise BadData(f"{file}: two classes are called {repeated(names.values())!r}")
    return dict(sorted(names.items()))
