"""The layouts that sets of pictures and videos come in, by the kind that a source names."""

import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Mapping

from pellucid.data import coco, folders, imagenet, pack, panoptic, shards, sources, tags, voc
from pellucid.data.clips import kinetics
from pellucid.data.clips import sets as clips
from pellucid.data.iqa import lists, pieapp, sets
from pellucid.data.sources import Rows

_ALL = "&missing=skip&boxes=clip"
GROUNDINGS = {
    "phrases": "table of image, phrase, box and perhaps caption, span, label; ?images=DIR&format=xywh&empty=keep&spans=caption&merge=yes"
    "&image=COLUMN (and so on)" + _ALL,
    "modulated": "MDETR's annotation, COCO's JSON of pictures with captions; ?images=DIR&coco=DIR&vg=DIR&masks=yes&spans=caption&merge=yes"
    + _ALL,
    "coco-captions": "COCO instances captioned by their categories; the options of coco, ?style=positions&merge=yes",
    "refcoco": "RefCOCO, RefCOCO+, RefCOCOg; ?split=testA&by=unc&images=train2014&spans=head&masks=yes&merge=yes" + _ALL,
    "flickr": "Flickr30k Entities; ?split=test&images=DIR&merged=yes&merge=yes" + _ALL,
    "genome": "Visual Genome's regions; ?images=DIR&spans=head&merge=yes" + _ALL,
    "phrasecut": "PhraseCut; ?split=test&images=DIR&masks=yes&merge=yes" + _ALL,
    "lvis": "LVIS, FILE.json: a row a picture and class; ?images=DIR&subset=1&seed=42&negatives=no&masks=yes&merge=yes" + _ALL,
    "gqa": "GQA's questions; ?split=val&type=all&graphs=FILE&images=DIR&merge=yes" + _ALL,
    "clevr": "CLEVR's questions; ?split=train&subset=medium&images=DIR&unclear=refuse&merge=yes" + _ALL,
    "clevr-ref": "CLEVR-Ref+; ?split=train&images=DIR&unclear=refuse&merge=yes" + _ALL,
}

KINDS = {
    "folder": "pictures, a folder a class, or a flat folder without labels; options ?split=train&classes=FILE&empty=drop&loose=drop",
    "shards": "pictures in tar or zip files, not unpacked: WebDataset shards name-{0000..0012}.tar, or class folders; ?classes=FILE",
    "pack": "pictures in one .npz file: arrays data, offsets, labels, classes; option ?names=ARRAY",
    "imagenet": "ImageNet and its relatives; options ?set=val|v2|a|r|sketch&label=name&classes=FILE&real=yes&among=present",
    "coco": "COCO instances, a folder or FILE.json; options ?split=train2017&images=DIR&missing=skip&empty=drop&boxes=clip&format=xyxy"
    "&masks=yes&maps=yes&crowds=class&objects=drop",
    "panoptic": "COCO's panoptic segments, a folder or FILE.json; options ?split=val2017&images=DIR&segments=DIR&masks=yes",
    "voc": "PASCAL VOC; options ?set=trainval&year=2007,2012&classes=FILE&missing=skip&lists=Segmentation&maps=yes (or only)&boxes=some"
    "&set=train_aug&sbd=DIR",
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
    "features": "features of clips: folder of shards, of .npy, .npz; table of such files; .h5; Parquet; ?modalities=rgb,audio&missing=skip"
    "&check=all&name=NAME; of tables ?files=DIR&rgb=COLUMN, of .h5 ?labels=FILE, of folders the options of folder",
    "youtube8m": "TFRecord files of YouTube-8M, a folder or train{0000..0009}.tfrecord; ?labels=vocabulary.csv&num_labels=N&level=video"
    "&modalities=rgb&missing=skip&check=all",
    "iqa": "table of distorted pictures, originals and scores; ?images=DIR&range=0,100&better=low (or &set=csiq)&split=COLUMN:VALUE"
    "&name=NAME&reference=COLUMN&image=COLUMN&score=COLUMN&kind=COLUMN",
    "videos": "videos, or folders of frames img_00001.jpg ..., a folder a class, or flat without labels; the options of folder",
    "ucf101": "UCF101; options ?split=train (or test)&fold=1&videos=DIR&missing=skip",
    "hmdb51": "HMDB51; options ?split=train (or test)&fold=1&videos=DIR&missing=skip",
    "kinetics": "Kinetics, a folder or its table FILE.csv, or a list of path and class number; options ?split=train&videos=DIR&missing=skip"
    "&parts=yes&classes=FILE",
    **GROUNDINGS,
}


def _features(place: str, options: Mapping[str, str]) -> Rows:
    from pellucid.data.clips import features  # with numpy, which naming the kinds should not wait for

    return features.read(place, options)


def _youtube8m(place: str, options: Mapping[str, str]) -> Rows:
    from pellucid.data.clips import youtube8m

    return youtube8m.read(place, options)


def _grounding(kind: str, place: str, options: Mapping[str, str]) -> Rows:
    from pellucid.data.grounding import readers

    return readers.READERS[kind](place, options)


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
    "features": _features,
    "youtube8m": _youtube8m,
    "videos": clips.videos,
    "ucf101": clips.ucf101,
    "hmdb51": clips.hmdb51,
    "kinetics": kinetics.read,
    **{kind: functools.partial(_grounding, kind) for kind in GROUNDINGS},
}


def read(kind: str, place: str, options: Mapping[str, str]) -> Rows:
    """The rows of one of `KINDS`; see the reader of that name."""
    return _READERS[kind](place, options)


def kind_of(place: str) -> str | None:
    """The kind that a bare path tells: a folder and what it holds, an archive or a pack; None where it tells none."""
    path = pathlib.Path(place).expanduser()
    if path.is_dir():
        coco_like = next(path.glob("annotations/instances_*.json"), None) or next(path.glob("*/_annotations.coco.json"), None)
        if coco_like:
            return "coco"
        if (path / "rows.jsonl").is_file() and (path / "manifest.json").is_file():
            return "features"
        marks = {"ImageSets": "voc", "ucfTrainTestlist": "ucf101", "testTrainMulti_7030_splits": "hmdb51"}
        told = next((kind for name, kind in marks.items() if (path / name).is_dir()), None)
        return told or ("videos" if _first(str(path)) == "videos" else "folder")
    ours = {".h5": "features", ".hdf5": "features", ".tfrecord": "youtube8m"}
    return {".tar": "shards", ".zip": "shards", ".npz": "pack", **ours}.get(path.suffix.lower())


def _first(folder: str, depth: int = 3) -> str | None:
    """What the first file is that is a picture or a video, of a folder and then of those below it, so many levels down."""
    try:
        entries = sorted((e for e in os.scandir(folder) if not sources.is_hidden(e.name)), key=lambda e: e.name)
    except OSError:  # whoever reads it says what is wrong
        return None
    files = [entry.name for entry in entries if not entry.is_dir()]
    kinds = ("pictures" if sources.is_picture(name) else "videos" if sources.is_video(name) else None for name in files)
    below = (_first(entry.path, depth - 1) for entry in entries if depth and entry.is_dir())
    return next((kind for kind in itertools.chain(kinds, below) if kind), None)
