"""The layouts that sets of pictures come in, by the kind that a source names."""

import pathlib
from collections.abc import Callable, Mapping

from pellucid.data import coco, folders, imagenet, pack, panoptic, shards, tags, voc
from pellucid.data.iqa import lists, pieapp, sets
from pellucid.data.sources import Rows

KINDS = {
    "folder": "pictures, a folder a class, or a flat folder without labels; options ?split=train&classes=FILE&empty=drop&loose=drop",
    "shards": "pictures in tar or zip files, not unpacked: WebDataset shards name-{0000..0012}.tar, or class folders; ?classes=FILE",
    "pack": "pictures in one .npz file: arrays data, offsets, labels, classes; option ?names=ARRAY",
    "imagenet": "ImageNet and its relatives; options ?set=val|v2|a|r|sketch&label=name&classes=FILE&real=yes&among=present",
    "coco": "COCO instances, a folder or FILE.json; options ?split=train2017&images=DIR&missing=skip&empty=drop&boxes=clip&format=xyxy"
    "&masks=yes&objects=drop",
    "panoptic": "COCO's panoptic segments, a folder or FILE.json; options ?split=val2017&images=DIR&segments=DIR&masks=yes",
    "voc": "PASCAL VOC; options ?set=trainval&year=2007,2012&classes=FILE&missing=skip",
    "nuswide": "table of path, list of tags and split, as ASL's authors prepared NUS-WIDE; options ?split=train&images=DIR&missing=skip",
    "openimages": "Open Images' verified labels; options ?split=validation&images=DIR&missing=skip&classes=trainable",
    "live": "LIVE release 2: distorted pictures, their originals, DMOS; of this and the next, ?references=A,B&without=A,B&kinds=A,B"
    "&without_kinds=A,B&range=LOW,HIGH&missing=skip",
    "csiq": "CSIQ: distorted pictures, their originals, DMOS",
    "tid": "TID2013 and TID2008: distorted pictures, their originals, MOS; option ?year=2008",
    "kadid": "KADID-10k: distorted pictures, their originals, scores 1 to 5",
    "kadis": "KADIS-700k: distorted pictures, their originals, another metric's scores; options ?label=vsi (or none)&scores=FILE",
    "pieapp": "PieAPP: which of two distorted pictures people prefer; ?split=val, or ?split=test with errors of single ones",
    "pipal": "PIPAL: restored pictures, their originals, Elo ratings",
    "iqa": "table of distorted pictures, originals and scores; ?images=DIR&range=0,100&better=low (or &set=csiq)&split=COLUMN:VALUE"
    "&name=NAME&reference=COLUMN&image=COLUMN&score=COLUMN&kind=COLUMN",
}
_READERS: dict[str, Callable[[str, Mapping[str, str]], Rows]] = {
    "folder": folders.read,
    "shards": shards.read,
    "pack": pack.read,
    "imagenet": imagenet.read,
    "coco": coco.read,
    "panoptic": panoptic.read,
    "voc": voc.read,
    "nuswide": tags.nuswide,
    "openimages": tags.openimages,
    "live": sets.live,
    "csiq": sets.csiq,
    "tid": sets.tid,
    "kadid": sets.kadid,
    "kadis": sets.kadis,
    "pieapp": pieapp.read,
    "pipal": sets.pipal,
    "iqa": lists.read,
}


def read(kind: str, place: str, options: Mapping[str, str]) -> Rows:
    """The rows of one of `KINDS`; see the reader of that name."""
    return _READERS[kind](place, options)


def kind_of(place: str) -> str | None:
    """The kind that a bare path tells: a folder and what it holds, an archive or a pack; None where it tells none."""
    path = pathlib.Path(place).expanduser()
    if path.is_dir():
        coco_like = next(path.glob("annotations/instances_*.json"), None) or next(path.glob("*/_annotations.coco.json"), None)
        return "coco" if coco_like else "voc" if (path / "ImageSets").is_dir() else "folder"
    return {".tar": "shards", ".zip": "shards", ".npz": "pack"}.get(path.suffix.lower())
