"""Detection: which objects a picture shows and where, as a set of classes and boxes."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from pellucid.coerce import natural
from pellucid.data.asked import ANY, asked_name, numbered, parted
from pellucid.data.boxes import Framed, masks_of, test_boxes, train_boxes
from pellucid.data.padded import bucket_length, picture_batch
from pellucid.data.pictures import read_labels, readable, where, write_labels
from pellucid.data.polygons import to_codes
from pellucid.data.read import require
from pellucid.data.subset import known_labels
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.errors import BadData
from pellucid.losses.masks import covered, set_mask_losses, shown_masks
from pellucid.losses.matching import Costs, match
from pellucid.losses.set_prediction import Truth, Weights, class_amount, named, set_losses
from pellucid.metrics.coco import coco_metrics
from pellucid.metrics.panoptic import panoptic_metrics
from pellucid.metrics.voc import voc_metrics
from pellucid.nn.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from pellucid.nn.detectors import shape_of, sites_of
from pellucid.nn.detr import Detr, layers_of
from pellucid.nn.detr_names import ours
from pellucid.nn.queries import placed, queries_of
from pellucid.nn.resnet_weights import pretrained_resnet
from pellucid.task import Batch, Example, Metric, Output
from pellucid.tasks.detection.masks import panoptic
from pellucid.tasks.detection.model import DetectionModel
from pellucid.tasks.detection.settings import DetectionSettings


class Detection:
    """A picture to boxes of `labels`.

    Examples hold `image` and `objects` (`label`, `box_xyxy` in pixels, `crowd`, with masks `segmentation`); perhaps `classes`, all names
    of the set, and `corruption`. An answer is a query and a class, written `dog@17`, or `dog`, of whichever query says so most.

    Args:
        stuff: labels without instances; given, with a mask head, every pixel is given to one segment, too, as `panoptic`.
    """

    score_unit = "log-probability"
    takes = "image"

    def __init__(self, model: DetectionModel, labels: Sequence[str], settings: DetectionSettings, stuff: Sequence[str] = ()):
        self.model, self.labels, self.settings, self.stuff = model, tuple(labels), settings, tuple(stuff)
        self.index = {label: i for i, label in enumerate(self.labels)}
        self.sites = sites_of(settings.patch)

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose pictures can be read and whose labels are known; pictures without objects stay.

        Raises:
            BadData: a column is missing, a label unknown, a picture broken; with the row.
        """
        require(examples, ("image",), source)
        told = [{"id": e["id"], "labels": [o["label"] for o in e["objects"]]} for e in examples if "objects" in e]
        known_labels(told, self.labels, source)
        kept = readable(examples, source, self.settings.check, self.settings.broken)
        return [{**e, "length": bucket_length(e)} for e in kept]

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`picture`, its masks, `size_hw`, and where examples have objects `boxes_cxcywh`, `class_index` and perhaps `masks`, lists."""
        return self._batch(examples, [test_boxes(e, self.settings.view) for e in examples])

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """As `collate`, of random views."""
        view = self.settings.train_view
        return self._batch(examples, [train_boxes(e, view, seed) for e, seed in zip(examples, seeds, strict=True)])

    def _batch(self, examples: Sequence[Example], framed: Sequence[Framed]) -> Batch:
        stride = self.model.net.backbone.stride
        batch = picture_batch([f.picture for f in framed], [f.size_hw for f in framed], self.settings.patch, stride)
        if not all("objects" in e for e in examples):
            return batch
        shown = [torch.tensor(f.picture.shape[:0:-1]).repeat(2) for f in framed]  # width, height, width, height
        batch["boxes_cxcywh"] = [xyxy_to_cxcywh(f.boxes_xyxy / size) for f, size in zip(framed, shown, strict=True)]
        batch["class_index"] = [torch.tensor([self.index[label] for label in f.labels], dtype=torch.long) for f in framed]
        if self.settings.masks:
            batch["masks"] = [masks_of(f, where(e)) for f, e in zip(framed, examples, strict=True)]
        return batch

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy in nats, the boxes' distance and 1 - GIoU of each decoder layer, the last under plain names; masks' of the last."""
        told = self.settings
        truth = Truth(batch["class_index"], batch["boxes_cxcywh"])
        logits, boxes = layers_of(output, "logits"), layers_of(output, "boxes_cxcywh")
        costs = Costs(told.label_cost, told.box_cost, told.giou_cost)
        matches = match(logits, boxes, truth.classes, truth.boxes, costs)
        weights = Weights(told.label_weight, told.box_weight, told.giou_weight, told.no_object_weight)
        losses = named(set_losses(logits, boxes, truth, matches, weights))
        if not told.masks:
            return losses
        last, size = matches.of_layer(len(logits) - 1), batch["pixel_present"].shape
        return losses | set_mask_losses(output["mask_logits"], batch["masks"], last, (size[1], size[2]), told.mask_padding)

    def amounts(self, batch: Batch) -> dict[str, float]:
        """Over how much each part of the loss is a mean: weights of queries, or objects."""
        sizes = [len(c) for c in batch["class_index"]]
        ce = class_amount(sizes, self.settings.num_queries, self.settings.no_object_weight)
        each = {"ce": ce, "bbox": float(sum(sizes)), "giou": float(sum(sizes))}
        earlier = {f"{name}_{i}": value for name, value in each.items() for i in range(self.settings.decoder_layers - 1)}
        return each | earlier | {"mask": each["bbox"], "dice": each["bbox"]}

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """All queries, the surest first: `labels`, `scores`, `boxes_xyxy` in pixels of the picture, `queries`, with a mask head `masks`.

        `answers` are those from the threshold on, as `dog@17`. Where there is stuff, `panoptic` holds `ids`, 0 for no segment, and
        `segments` with `id`, `label`, `thing` and `area`.
        """
        scores, classes = output["logits"].float().softmax(-1)[..., :-1].max(-1)
        height, width = batch["size_hw"].unbind(1)
        scale = rearrange(torch.stack([width, height, width, height]), "d b -> b 1 d")
        boxes = cxcywh_to_xyxy(output["boxes_cxcywh"].float()) * scale
        order = scores.argsort(stable=True, dim=-1, descending=True)
        return [
            self._told(scores[i][rows].tolist(), classes[i][rows].tolist(), boxes[i][rows].tolist(), rows.tolist())
            | self._masked(output, batch, i, rows)
            for i, rows in enumerate(order)
        ]

    def _told(self, scores: list[float], classes: list[int], boxes: list[list[float]], queries: list[int]) -> dict[str, Any]:
        labels = [self.labels[c] for c in classes]
        each = zip(labels, queries, scores, strict=True)
        answers = [f"{label}@{query}" for label, query, score in each if score >= self.settings.threshold]
        return {"labels": labels, "scores": scores, "boxes_xyxy": boxes, "queries": queries, "answers": answers}

    def _masked(self, output: Output, batch: Batch, i: int, rows: Int[Tensor, " q"]) -> dict[str, Any]:
        if "mask_logits" not in output:
            return {}
        codes = to_codes(covered(output["mask_logits"][i], batch, i, rows, self.settings.mask_padding))
        return {"masks": codes, **self._panoptic(output, batch, i)}

    def _panoptic(self, output: Output, batch: Batch, i: int) -> dict[str, Any]:
        if not self.stuff:
            return {}
        shown = shown_masks(output["mask_logits"][i], batch, i, self.settings.mask_padding)
        height, width = batch["size_hw"][i].tolist()
        stuff = [self.index[label] for label in self.stuff]
        ids, found = panoptic(output["logits"][i], shown, (height, width), stuff, self.settings.panoptic_threshold)
        segments = [{"id": s["id"] + 1, "label": self.labels[s["class_index"]], "thing": s["thing"], "area": s["area"]} for s in found]
        return {"panoptic": {"ids": (ids + bool(found)).to(torch.uint8 if len(found) < 255 else torch.int32).numpy(), "segments": segments}}

    def metrics(self) -> dict[str, Metric]:
        """COCO's twelve numbers, average precision first; where asked VOC's two; with masks also theirs, with stuff panoptic quality."""
        boxes = coco_metrics(masks=bool(self.settings.masks)) | (voc_metrics() if self.settings.average_precision == "voc" else {})
        return boxes | panoptic_metrics() if self.settings.masks and self.stuff else boxes

    def answer(self, output: Output) -> Shaped[Tensor, "b 2"]:
        """Query and class of the surest box."""
        logits = output["logits"][..., :-1] - output["logits"].logsumexp(-1, keepdim=True)
        best = rearrange(logits, "b q c -> b (q c)").argmax(-1)
        return torch.stack([best // logits.shape[-1], best % logits.shape[-1]], -1)

    def gold(self, examples: Sequence[Example]) -> Shaped[Tensor, "b 2"]:
        """Query and class that each example's `label` names: `dog@17`; of `dog`, or of the first of its objects, the query is -1: any.

        Raises:
            BadData: an example without a label or objects.
            BadUsage: a label that the model does not know, or a query that it does not have.
        """
        return torch.tensor([self._asked(e) for e in examples])

    def _asked(self, example: Example) -> tuple[int, int]:
        label = asked_name(example)
        name, query = parted(label, self.labels)
        return numbered(label, query, self.settings.num_queries, "query"), self.index[name]

    def score(self, output: Output, answer: Shaped[Tensor, "b 2"]) -> Float[Tensor, " b"]:
        """log p(class at the query) in nats; of any query, the highest."""
        query, label = answer.unbind(-1)
        log_probs = output["logits"].float().log_softmax(-1)[torch.arange(len(label), device=label.device), :, label]  # b q
        at = log_probs.gather(-1, query.clamp_min(0)[:, None])[:, 0]
        return torch.where(query == ANY, log_probs.amax(-1), at)

    def places(self, output: Output, answer: Shaped[Tensor, "b 2"], batch: Batch) -> list[dict[str, Any]]:
        """What each answer is called, and its box."""
        names = [self.labels[label] if query == ANY else f"{self.labels[label]}@{query}" for query, label in answer.tolist()]
        return placed(output["boxes_cxcywh"], queries_of(output["logits"], answer), names, batch["size_hw"])

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Published weights, of the authors, of Hugging Face or of detectron2, under our names."""
        return ours(tensors)[0]


# ---- building ---------------------------------------------------------------------------------------------------------


def network(settings: DetectionSettings, num_classes: int, pretrained: str) -> DetectionModel:
    """The detector that the settings describe; `pretrained` weights are the backbone's."""
    backbone = pretrained_resnet(settings.backbone, pretrained, settings.dilate, settings.frozen)
    net = Detr(backbone, shape_of(settings, num_classes), settings.mask_padding, settings.masks)
    view = settings.view
    return DetectionModel(net, view.mean or IMAGENET_MEAN, view.std or IMAGENET_STD, settings.aux_loss)


def build(settings: DetectionSettings, train: Sequence[Example]) -> Detection:
    """The task as `settings` say; its labels are the set's `classes`, else those that the training examples name."""
    require(train, ("image", "objects"), str(train[0]["id"]) if train else "training set")
    labels = train[0].get("classes") or sorted({str(o["label"]) for e in train for o in e["objects"]}, key=natural)
    if not labels:
        raise BadData(f"{train[0]['id']}: no picture has an object")
    return Detection(network(settings, len(labels), settings.pretrained), labels, settings, train[0].get("stuff", ()))


def restore(settings: DetectionSettings, folder: pathlib.Path) -> Detection:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    labels, stuff = read_labels(folder), folder / "stuff.json"
    return Detection(network(settings, len(labels), ""), labels, settings, json.loads(stuff.read_text()) if stuff.exists() else ())


def write(task: Detection, folder: pathlib.Path) -> None:
    """What the weights do not hold."""
    write_labels(task.labels, folder)
    if task.stuff:
        (folder / "stuff.json").write_text(json.dumps(task.stuff) + "\n", encoding="utf-8")
