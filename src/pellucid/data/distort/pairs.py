"""Pairs of a photograph and what becomes of it under a distortion, drawn for each photograph by its name."""

import hashlib
import pathlib
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from pellucid.coerce import nearest
from pellucid.data import folders, sources
from pellucid.data.distort.levels import KINDS, LEVELS
from pellucid.data.distort.pictures import SMALLEST, check_available
from pellucid.data.sources import Rows
from pellucid.errors import BadData, BadUsage

OPTIONS = {"num": (), "every": ("yes", "no"), "seed": (), "size": (), "kinds": (), "without_kinds": (), "levels": ()}
NUM, SIZE = 5, 256
INNER = "of."  # before an option of the other source that has a name of ours

Choice = tuple[str, int]  # kind and level


def read(place: str, options: Mapping[str, str], inner: Callable[[str], Rows]) -> Rows:
    """Rows of generated pairs: `image` and `reference` are one photograph, `distortion` says what is to be done to the first.

    Which pairs a photograph gives, and what is drawn in them, depends on its name, the seed and the kinds and levels that may come,
    and on no other photograph.

    Args:
        place: a folder, whose pictures are found at any depth, or another source of pictures.
        options: `num` pairs a photograph, no kind twice before all have come; `every=yes` gives all kinds at all levels instead; `size`
            pixels of the shorter side, or `whole`; `kinds` or all `without_kinds`; `levels`, 1-5 or 2,4. Those of another kind of source
            go to that source, of.num=40 as its num.
        inner: the rows of another source.
    Raises:
        BadData: no pictures.
        BadUsage: an option that is not there, or has a value it does not take.
    """
    given = {name: value for name, value in options.items() if name in OPTIONS}
    chosen = sources.checked("distorted", given, OPTIONS)
    pairs = [(kind, level) for kind in _kinds(chosen) for level in _levels(chosen)]
    num, seed = _num(chosen, len(pairs)), _whole(chosen, "seed", 0, 0)
    size = None if chosen.get("size") == "whole" else _whole(chosen, "size", SIZE, SMALLEST)
    rows: Rows = []
    for name, group, image in _photographs(place, {n.removeprefix(INNER): v for n, v in options.items() if n not in OPTIONS}, inner):
        for kind, level in pairs if num is None else _drawn(pairs, num, seed, group):
            own = {"kind": kind, "level": level, "seed": seed_of(seed, group, kind)}
            row = {"id": f"{name}#{kind}-{level}", "image": image, "reference": image, "distortion": own, "kind": kind, "level": level}
            rows.append({**row, "group": group, **({} if size is None else {"short": size})})
    return rows


def seed_of(seed: int, group: str, kind: str) -> int:
    """The seed of a kind on a photograph: one for all levels, so that they are one distortion that grows."""
    named = "\0".join((str(seed), group, kind))
    return int.from_bytes(hashlib.blake2b(named.encode(), digest_size=4).digest())


def _drawn(pairs: Sequence[Choice], num: int, seed: int, group: str) -> list[Choice]:
    """So many pairs, none twice: every kind once at a level of its own, then every kind again, and so on."""
    draw = random.Random(f"{seed}\0{group}")
    levels: dict[str, list[int]] = {}
    for kind, level in pairs:
        levels.setdefault(kind, []).append(level)
    for own in levels.values():
        draw.shuffle(own)
    found: list[Choice] = []
    while len(found) < num:
        found += [(kind, levels[kind].pop()) for kind in draw.sample(list(levels), min(len(levels), num - len(found)))]
    return found


# ---- photographs --------------------------------------------------------------------------------------------------


def _photographs(place: str, options: Mapping[str, str], inner: Callable[[str], Rows]) -> Iterable[tuple[str, str, object]]:
    """Name in messages, name of the content, and picture of each photograph."""
    path = pathlib.Path(place).expanduser()
    if path.is_file() or (":" in place and not path.exists()):  # an archive, a table, or a kind and its place
        query = "&".join(f"{name}={value}" for name, value in options.items())
        for row in inner(place + ("?" + query if query else "")):
            if row.get("image") is None:
                raise BadData(f"{row['id']}: the row has no image to distort")
            yield row["id"], row["id"], row["image"]
        return
    split = sources.checked("distorted", options, {**OPTIONS, "split": ()}).get("split")
    root = sources.folder_of(place)
    root = root if split is None else folders.chosen_split(root, split)
    for name in folders.pictures(folders.walk(root)[0], str(root)):
        yield f"{root.name}/{name}", name, f"{root}/{name}"


# ---- options ------------------------------------------------------------------------------------------------------


def _kinds(options: Mapping[str, str]) -> list[str]:
    """The kinds that may come, in their own order."""
    if "kinds" in options and "without_kinds" in options:
        raise BadUsage("distorted: kinds and without_kinds: give one of them")
    name = "without_kinds" if "without_kinds" in options else "kinds"
    named = [kind for kind in options.get(name, "").split(",") if kind]
    if name in options and not named:
        raise BadUsage(f"distorted: {name}=: names no kind; write as in {name}=jpeg,white_noise")
    for kind in named:
        if kind not in KINDS:
            raise BadUsage(f"distorted: {name}: no distortion {kind!r}{nearest(kind, list(KINDS))}")
    kinds = [kind for kind in KINDS if (kind in named) == (name == "kinds")] if named else list(KINDS)
    if not kinds:
        raise BadUsage("distorted: without_kinds: leaves no kind")
    check_available(kinds)
    return kinds


def _levels(options: Mapping[str, str]) -> list[int]:
    given = options.get("levels", f"{LEVELS[0]}-{LEVELS[-1]}")
    found: set[int] = set()
    for part in given.split(","):
        first, _, last = part.partition("-")
        ends = [int(end) if end.isdecimal() else 0 for end in (first, last or first)]
        if not LEVELS[0] <= ends[0] <= ends[1] <= LEVELS[-1]:
            raise BadUsage(f"distorted: levels={given}: expected levels of 1 to {LEVELS[-1]}, as 1-5 or 2,4")
        found |= set(range(ends[0], ends[1] + 1))
    return sorted(found)


def _num(options: Mapping[str, str], most: int) -> int | None:
    """How many pairs a photograph gives; None for every one."""
    if options.get("every") == "yes":
        if "num" in options:
            raise BadUsage("distorted: num and every=yes: give one of them")
        return None
    num = _whole(options, "num", min(NUM, most), 1)
    if num > most:
        raise BadUsage(f"distorted: num={num}: these kinds and levels make {most} pairs a photograph; every=yes gives them all")
    return num


def _whole(options: Mapping[str, str], name: str, otherwise: int, least: int) -> int:
    given = options.get(name, str(otherwise))
    if not given.isdecimal() or int(given) < least:
        also = ", or whole" if name == "size" else ""
        raise BadUsage(f"distorted: {name}={given}: expected a whole number from {least} up{also}")
    return int(given)
