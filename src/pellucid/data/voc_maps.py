"""PASCAL VOC's maps: which pictures have one, where it lies, and the bigger set of them that SBD gives."""

import pathlib
from collections.abc import Mapping, Sequence

from pellucid.data import sources
from pellucid.errors import BadData

FOLDERS = ("SegmentationClass", "SegmentationClassAug")
AUGMENTED = "train_aug"
_AUGMENTED_NAMES = (AUGMENTED, "trainaug")


def sbd_folder(place: str) -> pathlib.Path:
    """The folder of SBD that holds `cls`, `train.txt` and `val.txt`, in the folder named or below it.

    Raises:
        BadData: there is none.
    """
    root = sources.folder_of(place)
    found = next((f for f in (root, root / "dataset", root / "benchmark_RELEASE" / "dataset") if (f / "cls").is_dir()), None)
    if found is None:
        raise BadData(f"{root}: no folder cls; expected SBD's, with cls, train.txt and val.txt")
    return found


def augmented(root: pathlib.Path, sbd: str | None) -> list[str]:
    """Names of the pictures of `train_aug`: those of a list of that name, else SBD's and VOC's `train` without VOC's `val`.

    Args:
        root: the folder of ImageSets.
        sbd: SBD's folder.
    Raises:
        BadData: neither is there.
    """
    lists = root / "ImageSets" / "Segmentation"
    ready = next((lists / f"{name}.txt" for name in _AUGMENTED_NAMES if (lists / f"{name}.txt").is_file()), None)
    if ready is not None and not sbd:
        return names_of(ready)
    if not sbd:
        raise BadData(f"no file {lists}/{AUGMENTED}.txt; say where SBD is with ?sbd=FOLDER, or put the list there")
    more = sbd_folder(sbd)
    held = set(names_of(lists / "val.txt"))
    found = {name for file in (more / "train.txt", more / "val.txt", lists / "train.txt") for name in names_of(file)}
    return sorted(found - held)


def names_of(file: pathlib.Path) -> list[str]:
    """The first word of each line, each once.

    Raises:
        BadData: no such file, none in it, or one twice.
    """
    names = [line.split()[0] for line in sources.read_text(file).splitlines() if line.strip()]
    if not names:
        raise BadData(f"{file}: the file is empty")
    if sources.repeated(names) is not None:
        raise BadData(f"{file}: picture {sources.repeated(names)} is listed twice")
    return names


def maps_of(root: pathlib.Path, names: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
    """The file of each picture's map, of those that have one: VOC's own, else that of `SegmentationClassAug`, else SBD's.

    Raises:
        BadData: none has.
    """
    folders = [(str(root / folder), "png") for folder in FOLDERS]
    folders += [(str(sbd_folder(chosen["sbd"]) / "cls"), "mat")] if "sbd" in chosen else []
    listing = sources.Listing()
    found = {}
    for name in names:
        paths = (sources.inside(folder, f"{name}.{ending}", str(root)) for folder, ending in folders)
        if path := next((path for path in paths if listing.has(path)), None):
            found[name] = path
    if not found:
        raise BadData(f"{root}: no picture has a map: no file {folders[0][0]}/{names[0]}.png; read without ?maps")
    return found
