"""Pictures in folders: one folder a class, or a flat folder of pictures to predict."""

import os
import pathlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from pellucid.data import sources
from pellucid.data.sources import Rows, log
from pellucid.errors import BadData

OPTIONS = {"split": (), "classes": (), "empty": ("refuse", "drop"), "loose": ("refuse", "drop")}


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per picture: its `image` path and, where there are class folders, its folder's name as `label`.

    Args:
        options: `split` picks DIR/train, DIR/val (or validation) or DIR/test; `classes` is a file that names the folders; `empty=drop`
            leaves out class folders without pictures, `loose=drop` pictures beside class folders.
    Raises:
        BadData: no pictures, an empty class folder, pictures beside class folders, several splits and none chosen.
    """
    chosen = sources.checked("folder", options, OPTIONS)
    root = chosen_split(sources.folder_of(place), chosen.get("split"))
    files, folders = walk(root)
    kept = pictures(files, str(root))
    labels = arrange(kept, folders, chosen, str(root))
    rows = [{"id": f"{root.name}/{name}", "image": f"{root}/{name}"} for name, _ in labels]
    return label(rows, [folder for _, folder in labels], chosen)


def label(rows: Rows, folders: Sequence[str | None], options: Mapping[str, str]) -> Rows:
    """The rows with the class that each one's folder stands for; unchanged where there are no folders."""
    if None in folders:
        return rows
    given = sources.class_names(options["classes"]) if "classes" in options else {}
    names = {f: sources.named(f, given, f"folder {f}") if given else f for f in dict.fromkeys(folders) if f is not None}
    classes = sources.ordered(given) if given else tuple(names.values())
    return [{**row, "label": names[f], "classes": classes} for row, f in zip(rows, folders, strict=True) if f is not None]


def chosen_split(root: pathlib.Path, split: str | None) -> pathlib.Path:
    """The folder of the split; the folder itself where none is asked for and none is there.

    Raises:
        BadData: no such split, or several and none chosen.
    """
    below = sorted(e.name for e in os.scandir(root) if e.is_dir() and not sources.is_hidden(e.name))
    if split is not None:
        found = sources.split_folder(root, split)
        if found is None:
            raise BadData(f"{root}: no folder {split!r}; there are {', '.join(below) or 'none'}")
        return found
    known = {name for group in sources.SPLITS for name in group}
    # a class may be called train: a split is known by holding folders, not pictures
    if below and set(below) <= known and all(_holds_folders(root / name) for name in below):
        raise BadData(f"{root}: holds splits, not classes; choose one with ?split=, of {', '.join(below)}")
    return root


def _holds_folders(folder: pathlib.Path) -> bool:
    seen = [entry.is_dir() for entry in os.scandir(folder) if not sources.is_hidden(entry.name)]
    return bool(seen) and all(seen)


def walk(root: pathlib.Path, whole: Callable[[Sequence[str]], bool] | None = None) -> tuple[list[str], list[str]]:
    """Files at any depth and folders of the first level, both relative and sorted, without hidden ones; links are followed once.

    Args:
        whole: tells of the names of a folder's files that it is one thing: it stands among the files as `a/b/`, and they do not.
    """
    files, folders, seen = [], [], {os.path.realpath(root)}
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = [b for b in below if not sources.is_hidden(b) and not (os.path.islink(p := f"{folder}/{b}") and _again(p, seen))]
        at = os.path.relpath(folder, root).replace(os.sep, "/")
        if at == ".":
            folders = sorted(below)
        elif whole is not None and whole(names):
            files.append(f"{at}/")
            below.clear()
            continue
        files += [name if at == "." else f"{at}/{name}" for name in names if not sources.is_hidden(name)]
    alone = {name[:-1] for name in files if name.endswith("/")}
    return sorted(files, key=lambda name: name.split("/")), [name for name in folders if name not in alone]


def _again(link: str, seen: set[str]) -> bool:
    """Whether the link leads to a folder already walked, or around which we are walking."""
    real = os.path.realpath(link)
    again = real in seen or any(known.startswith(real + os.sep) for known in seen)
    seen.add(real)
    return again


def pictures(files: Sequence[str], place: str) -> list[str]:
    """The files that are pictures; how many others there are is told.

    Raises:
        BadData: none is.
    """
    return of_kind(files, place, "pictures", sources.is_picture, f"files ending in {', '.join(sources.ENDINGS[:5])} ...")


def of_kind(files: Sequence[str], place: str, what: str, fits: Callable[[str], bool], expected: str) -> list[str]:
    """The files that fit; how many others there are is told.

    Raises:
        BadData: none does.
    """
    kept = [name for name in files if fits(name)]
    if not kept:
        ends = Counter(os.path.splitext(name)[1].lower() or "no ending" for name in files)
        there = ", ".join(f"{n} {end}" for end, n in ends.most_common(3)) or "no files"
        raise BadData(f"{place}: no {what} ({there}); expected {expected}")
    if len(kept) < len(files):
        log.warning("%s: %d files that are no %s are left out", place, len(files) - len(kept), what)
    return kept


def arrange(
    names: Sequence[str], folders: Collection[str], options: Mapping[str, str], place: str, what: str = "pictures"
) -> list[tuple[str, str | None]]:
    """Each name with the folder of the first level that it lies in; None throughout where all lie flat.

    Raises:
        BadData: some lie in folders and some beside them, or a folder has none.
    """
    pairs = [(name, name.partition("/")[0] if "/" in name else None) for name in names]
    loose = [name for name, folder in pairs if folder is None]
    if len(loose) == len(pairs):
        return pairs
    if loose and options.get("loose") != "drop":
        some = f"{loose[0]}, ..." if len(loose) > 1 else loose[0]
        raise BadData(f"{place}: {len(loose)} {what} lie beside the class folders ({some}); move them into one, or add ?loose=drop")
    if loose:
        log.warning("%s: %d %s beside the class folders are left out", place, len(loose), what)
    empty = sorted(set(folders) - {folder for _, folder in pairs})
    if empty and options.get("empty") != "drop":
        raise BadData(f"{place}/{empty[0]}: a class folder without {what}; remove it, or add ?empty=drop to leave such classes out")
    if empty:
        log.warning("%s: %d class folders without %s are left out: %s", place, len(empty), what, ", ".join(empty[:5]))
    return [(name, folder) for name, folder in pairs if folder is not None]
