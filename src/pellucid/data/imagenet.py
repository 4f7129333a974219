"""ImageNet's validation set and its relatives, laid out as their authors do, labelled in one set of a thousand classes."""

import importlib.util
import pathlib
import re
from collections.abc import Mapping

from pellucid.data import folders, sources
from pellucid.data.sources import Rows, log
from pellucid.errors import BadData

OPTIONS = {
    "set": ("val", "v2", "a", "r", "sketch"),
    "label": ("wnid", "name"),
    "classes": (),
    "real": (),
    "among": ("all", "present"),
}
_SUBSETS = {"a": "imagenet_a_synsets.txt", "r": "imagenet_r_synsets.txt"}


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture; `label` is a word-net id unless asked otherwise, `classes` are the thousand.

    Where a set has only some of the classes (ImageNet-A and -R have 200), `among` names them: a model is measured over these alone.

    Args:
        options: `set` is val, v2 (folders 0 to 999 are class indices), a, r or sketch (folders are word-net ids); `label=name` gives
            the first words of the class instead of its id; `classes` is a file of the home set's own names by index or word-net id;
            `among=present` masks to the folders that are there, `among=all` never masks; `real` is the json of ImageNet-ReaL, or
            `yes` for timm's copy: rows then have `right`, all right labels, and pictures that have none are left out.
    Raises:
        BadData: a folder is no class, or a picture has no place in the ReaL list.
    """
    chosen = sources.checked("imagenet", options, OPTIONS)
    kind = chosen.get("set", "val")
    root = sources.folder_of(place)
    if kind == "val" and sources.split_folder(root, "val"):
        root = sources.split_folder(root, "val") or root
    files, below = folders.walk(root)
    pairs = folders.arrange(folders.pictures(files, str(root)), below, {"empty": "drop"}, str(root))
    names = _names(chosen)
    classes = sources.ordered(names)
    labels = {folder: _label(folder, kind, names, str(root)) for folder in dict.fromkeys(folder for _, folder in pairs)}
    among = _among(kind, chosen.get("among"), labels, names, str(root))
    extra = {"classes": classes, **({"among": among} if among else {})}
    rows = [{"id": f"{root.name}/{name}", "image": f"{root}/{name}", "label": labels[folder], **extra} for name, folder in pairs]
    return _real(rows, chosen["real"], classes) if "real" in chosen else rows


def _info(name: str) -> pathlib.Path:
    """A list of classes that timm carries, found without importing timm."""
    spec = importlib.util.find_spec("timm")
    assert spec and spec.submodule_search_locations
    path = pathlib.Path(spec.submodule_search_locations[0]) / "data" / "_info" / name
    if not path.is_file():
        raise BadData(f"this timm has no list {name}; give the classes with ?classes=FILE")
    return path


def _names(chosen: Mapping[str, str]) -> dict[str, str]:
    """Class index and word-net id -> label."""
    wnids = sources.read_text(_info("imagenet_synsets.txt")).split()
    if "classes" not in chosen:
        words = _words(wnids) if chosen.get("label") == "name" else wnids
        return dict(zip([*map(str, range(len(wnids))), *wnids], [*words, *words], strict=True))
    given = sources.class_names(chosen["classes"])
    if len(sources.ordered(given)) != len(wnids):
        return given
    # a list of a thousand names without ids is in ImageNet's own order
    return {**{wnid: given[str(i)] for i, wnid in enumerate(wnids)}, **given}


def _words(wnids: list[str]) -> list[str]:
    """The words of each class, distinct: two pairs of ImageNet's classes share theirs (crane, maillot)."""
    lines = [line.partition("\t") for line in sources.read_text(_info("imagenet_synset_to_lemma.txt")).splitlines()]
    lemma = {wnid: words.split(",")[0].strip() for wnid, _, words in lines}
    words = [lemma[wnid] for wnid in wnids]
    return [word if words.count(word) == 1 else f"{word} ({wnid})" for word, wnid in zip(words, wnids, strict=True)]


def _label(folder: str | None, kind: str, names: Mapping[str, str], place: str) -> str:
    if folder is None:
        raise BadData(f"{place}: pictures without class folders; expected {'0 to 999' if kind == 'v2' else 'n01440764 and so on'}")
    if kind == "v2" and not folder.isdecimal():
        raise BadData(f"{place}/{folder}: ImageNet-V2's folders are class indices, 0 to 999; expected a number, or another ?set=")
    if kind != "v2" and folder.isdecimal():
        raise BadData(f"{place}/{folder}: a class index, as ImageNet-V2 has them; expected a word-net id, or ?set=v2")
    return sources.named(str(int(folder)) if kind == "v2" else folder, names, f"{place}/{folder}")


def _among(kind: str, asked: str | None, labels: Mapping[str | None, str], names: Mapping[str, str], place: str) -> tuple[str, ...]:
    """The classes that the set has, in the home order; empty where it has all."""
    classes = sources.ordered(names)
    if asked == "all" or (asked is None and kind not in _SUBSETS):
        return ()
    has = set(labels.values())
    if asked is None:
        whole = {names[wnid] for wnid in sources.read_text(_info(_SUBSETS[kind])).split() if wnid in names}
        strange = has - whole
        if strange:
            raise BadData(
                f"{place}: {sorted(strange)[0]} is no class of ImageNet-{kind.upper()}; for a subset of your own add ?among=present"
            )
        if len(has) < len(whole):
            log.warning("%s: %d of the %d classes of ImageNet-%s are there", place, len(has), len(whole), kind.upper())
        has = whole
    return tuple(name for name in classes if name in has) if len(has) < len(classes) else ()


def _real(rows: Rows, place: str, classes: tuple[str, ...]) -> Rows:
    """The rows with `right`, the labels that people found right (Beyer et al. 2020); without those that have none."""
    path = _info("imagenet_real_labels.json") if place == "yes" else pathlib.Path(place).expanduser()
    table = sources.read_json(path)
    if not isinstance(table, list) or not all(isinstance(found, list) for found in table):
        raise BadData(f"{path}: expected a list of lists of class indices")
    kept = []
    for row in rows:
        number = re.search(r"ILSVRC2012_val_(\d{8})", row["id"])
        if not number or not 1 <= int(number[1]) <= len(table):
            raise BadData(f"{row['image']}: no ImageNet validation picture, whose names are ILSVRC2012_val_00000001 and so on")
        right = table[int(number[1]) - 1]
        if any(not isinstance(i, int) or not 0 <= i < len(classes) for i in right):
            raise BadData(f"{path}: entry {int(number[1])} names a class that is not one of {len(classes)}")
        if right:
            kept.append({**row, "right": tuple(classes[i] for i in right)})
    log.warning("%s: %d of %d pictures have no right label and are left out", path.name, len(rows) - len(kept), len(rows))
    return kept
