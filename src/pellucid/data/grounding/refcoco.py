"""RefCOCO, RefCOCO+ and RefCOCOg as published: expressions that each ask for one object of a picture."""

import pathlib
from collections.abc import Mapping
from typing import Any

from pellucid.data import pickles, sources
from pellucid.data.grounding import rows as shared
from pellucid.data.grounding import spans
from pellucid.data.grounding.rows import Scene
from pellucid.data.sources import Rows
from pellucid.errors import BadData

OPTIONS: sources.Choices = {
    **shared.OPTIONS,
    **{"split": ("train", "val", "test", "testA", "testB"), "by": ("unc", "umd", "google")},
    **{"spans": ("caption", "head"), "masks": ("yes", "no")},
}


def read(place: str, options: Mapping[str, str]) -> Rows:
    """A row per sentence, with one object, `expression` (the caption asks for one box) and the object's category as label.

    Args:
        place: the folder of `refs(unc).p` (of RefCOCOg `refs(umd).p`) and `instances.json`.
        options: `split`, train unless told; `by`, who split it; `images`, the folder of COCO's train2014, where the pictures of all splits
            are; `spans=head` lets the box answer the thing that the sentence begins with, not all of it; `masks=yes`; those of
            all groundings.
    Raises:
        UnsafeInput: the pickle holds more than plain values; nothing of it was run.
        BadData: a file is missing or damaged, a sentence refers to an annotation that is not there.
    Differs: the authors take the root noun phrase that a parser finds; their own files, read with `modulated:`, hold it.
    """
    chosen = sources.checked("refcoco", options, OPTIONS)
    root = sources.folder_of(place)
    refs_file, instances = _refs(root, chosen.get("by")), root / "instances.json"
    references = pickles.plain(_bytes(refs_file), str(refs_file))
    tree = sources.read_json(instances)
    images, annotations, categories = (_by_id(tree, key, instances) for key in ("images", "annotations", "categories"))
    folder = shared.folder_of_pictures(chosen, root, "train2014", "images/train2014", "images")
    split, found = chosen.get("split", "train"), []
    for reference in shared.listed(references, "", refs_file):
        keys = ("ref_id", "ann_id", "image_id", "split", "sentences")
        number, ann_id, image_id, its_split, sentences = shared.picked(reference, keys, f"{refs_file.name}: a reference")
        if its_split != split:
            continue
        where = f"{refs_file.name}:{number}"
        image, annotation = _known(images, image_id, "image", where), _known(annotations, ann_id, "annotation", where)
        label = _known(categories, annotation.get("category_id"), "category", where).get("name", "")
        picture = sources.inside(folder, image.get("file_name"), where)
        for i, sentence in enumerate(sentences):
            caption = shared.picked(sentence, ("sent",), where)[0].strip()
            size, clip = shared.size_of(image, where), chosen.get("boxes") == "clip"
            scene = Scene(f"{where}.{i}", picture, caption, f"coco/{image_id}", size, clip)
            found.append(_row(scene, annotation, label, chosen) | {"image_id": image_id})
    if not found:
        there = sorted({str(r.get("split")) for r in references if isinstance(r, dict)})
        raise BadData(f"{refs_file}: no sentence of split {split!r}; there are {', '.join(there)}")
    return shared.finished(found, chosen, str(root))


def _row(scene: Scene, annotation: Mapping[str, Any], label: str, chosen: Mapping[str, str]) -> dict[str, Any]:
    row = scene.row((), expression=True)
    span = spans.head(scene.caption) if chosen.get("spans") == "head" else [0, len(scene.caption)]
    masks = chosen.get("masks") == "yes" and annotation.get("segmentation")
    more = {"segmentation": annotation["segmentation"]} if masks else {}
    box = shared.corners(annotation.get("bbox"), scene.where)
    row["objects"] = [scene.object(box, [span], label, area=annotation.get("area"), **more)]
    return row


def _refs(root: pathlib.Path, by: str | None) -> pathlib.Path:
    there = {p.name.removeprefix("refs(").removesuffix(").p"): p for p in sorted(root.glob("refs(*).p"))}
    one = by or next((name for name in ("unc", "umd") if name in there), next(iter(there), ""))
    if one not in there:
        names = ", ".join(f"refs({name}).p" for name in there) or "no refs(...).p"
        raise BadData(f"{root}: no {f'refs({by}).p' if by else 'refs(unc).p'}; there is {names}")
    return there[one]


def _bytes(file: pathlib.Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadData(f"cannot read {file}: {error.strerror or error}") from None


def _by_id(tree: Any, key: str, file: pathlib.Path) -> dict[Any, dict[str, Any]]:
    return {shared.picked(entry, ("id",), f"{file}: {key}")[0]: entry for entry in shared.listed(tree, key, file)}


def _known(entries: Mapping[Any, dict[str, Any]], key: Any, what: str, where: str) -> dict[str, Any]:
    if key not in entries:
        raise BadData(f"{where}: {what} {key!r} is not in instances.json")
    return entries[key]
