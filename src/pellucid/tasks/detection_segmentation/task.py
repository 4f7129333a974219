"""Detection and segmentation: a picture's objects as boxes and the class of each of its pixels, told by one network in one pass."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pellucid.coerce import natural
from pellucid.data import loader
from pellucid.data.asked import asked_name
from pellucid.data.images import stacked
from pellucid.data.joint import JointFramed, test_joint, train_joint, usable
from pellucid.data.maps import has_map, read_map
from pellucid.data.pictures import read_labels, where
from pellucid.data.read import require
from pellucid.data.subset import known_labels
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.errors import BadData, BadUsage
from pellucid.losses.multibox import BoxTruth, Rules, matched, multibox_losses
from pellucid.losses.segmentation import VOID, segmentation_losses
from pellucid.metrics.joint import joint_metrics
from pellucid.metrics.segmentation import NUMBERS, pack_map
from pellucid.nn.boxes import boxes_at, clipped, cxcywh_to_xyxy, xyxy_to_cxcywh
from pellucid.nn.default_boxes import Tiling, default_boxes
from pellucid.nn.fusion import resized
from pellucid.nn.map_backbones import map_backbone
from pellucid.nn.norms import thaw_norms
from pellucid.nn.suppression import Keep, kept
from pellucid.nn.triplenet import FINEST, Shape, TripleNet
from pellucid.task import Batch, Example, Metric, Output, Site
from pellucid.tasks.detection_segmentation.answers import (
    REGION,
    answers_of,
    cells_of,
    read_answer,
    region_of,
    regions,
    regions_of,
    strength,
    surest,
    written,
)
from pellucid.tasks.detection_segmentation.model import JointModel, scales
from pellucid.tasks.detection_segmentation.settings import JointSettings

_AT_ONCE = 1 << 25  # values of logits that are enlarged together


class DetectionSegmentation:
    """A picture to boxes of `labels` and a map of them and background.

    Examples hold `image`; `objects` (`label`, `box_xyxy` in pixels, `crowd`) where these are told, `map` where that is; perhaps `classes`,
    all names of the set, and `corruption`. An answer is a default box and a class, written `dog@17`, or `dog`, of whichever box says so
    most; or a region of the map, `dog@map`.
    """

    score_unit = "log-probability"
    takes = "image"

    def __init__(self, model: JointModel, labels: Sequence[str], settings: JointSettings):
        self.model, self.labels, self.settings = model, tuple(labels), settings
        self.index = {label: i for i, label in enumerate(self.labels)}
        self.detects, self.segments = settings.jobs != "segmentation", settings.jobs != "detection"
        self.rules = Rules(settings.match_iou, settings.first_wins, settings.negatives, settings.mine_per_image, settings.variances)
        self.keep = Keep(settings.least_score, settings.candidates, settings.suppress_iou, settings.per_class, settings.total)
        sizes = model.map_sizes()
        self.defaults = default_boxes(sizes, model.net.tiling)
        self.map_size = sizes[0]
        self.sites = _sites(settings)

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose pictures and maps can be read and whose labels are known; without segmentation, without maps.

        Raises:
            BadData: a column is missing, a label unknown, a picture or a map broken; with the row.
        """
        require(examples, ("image",), source)
        told = [{"id": e["id"], "labels": [o["label"] for o in e["objects"]]} for e in examples if e.get("objects")]
        known_labels(told, self.labels, source)
        some = [e if self.segments else {key: value for key, value in e.items() if key != "map"} for e in examples]
        return usable(some, source, self.settings.check, self.settings.broken, self.labels)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`picture`, `size_hw`; `boxes_cxcywh` and `class_index`, lists, and whether they are told, `boxed`; `map`, void where not."""
        return self._batch([test_joint(e, self.settings.view, self.labels) for e in examples])

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """As `collate`, of random views."""
        view, size = self.settings.train_view, self.settings.view.size
        return self._batch([train_joint(e, view, size, seed, self.labels) for e, seed in zip(examples, seeds, strict=True)])

    def _batch(self, framed: Sequence[JointFramed]) -> Batch:
        size = self.settings.view.size
        maps = torch.stack([f.map for f in framed])
        if self.settings.label_size == "map":
            maps = F.interpolate(maps[:, None].float(), self.map_size, mode="nearest-exact")[:, 0].to(torch.uint8)
        return {
            "picture": stacked([f.picture for f in framed]),
            "size_hw": torch.tensor([f.size_hw for f in framed]),
            "boxes_cxcywh": [xyxy_to_cxcywh(f.boxes_xyxy / size) for f in framed],
            "class_index": [torch.tensor([self.index[label] for label in f.labels], dtype=torch.long) for f in framed],
            "boxed": torch.tensor([f.boxed for f in framed]),
            "map": maps,
        }

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Of boxes `loc` and `conf`, of pixels `map`, and of every scale together `aware` and `agnostic`; all but the first in nats."""
        told, parts = self.settings, dict[str, Float[Tensor, ""]]()
        if self.detects:
            defaults = output["default_boxes"][0]
            parts |= multibox_losses(output["class_logits"], output["offsets"], defaults, _truth(batch), self.rules)
        if self.segments:
            aware, agnostic = scales(output, "aware_logits"), scales(output, "agnostic_logits")
            parts |= segmentation_losses(batch["map"], output["map_logits"], aware, agnostic, told.align_corners)
        return {name: getattr(told, f"{name}_weight") * value for name, value in parts.items()}

    def amounts(self, batch: Batch) -> dict[str, float]:
        """Over how much each part of the loss is a mean: default boxes that have an object, or pixels that are not void."""
        found = dict[str, float]()
        if self.detects:
            truth = _truth(batch)
            owner = matched(self.defaults, truth.boxes_cxcywh, truth.present, self.rules)
            found |= dict.fromkeys(("loc", "conf"), float((owner[batch["boxed"]] >= 0).sum()))
        if self.segments:
            found |= dict.fromkeys(("map", "aware", "agnostic"), float((batch["map"] != VOID).sum()))
        return found

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """Of boxes the likeliest without those they suppress, the surest first, and the map, both in pixels of the picture.

        `labels`, `scores`, `boxes_xyxy` and `default_boxes`, which these were; `map`, packed (`metrics.segmentation.pack_map`), 0 for
        background and k for the k-th of `classes`; `answers`: the boxes from the threshold on, as `dog@17`, and regions, as `dog@map`.
        """
        counts = regions(output) if self.segments else None
        found = []
        for i, (height, width) in enumerate(batch["size_hw"].tolist()):
            one: dict[str, Any] = {"classes": list(self.labels), "answers": []}
            if self.detects:
                one |= self._boxes(output, i, (height, width))
            if counts is not None:
                one["map"] = pack_map(self._map(output["map_logits"][i : i + 1], (height, width)))
                one["answers"] += regions_of(counts[i], self.labels)
            found.append(one)
        return found

    def _boxes(self, output: Output, i: int, size: tuple[int, int]) -> dict[str, Any]:
        boxes = clipped(self._decoded(output, i))
        told = kept(output["class_logits"][i].float().softmax(-1)[:, 1:], boxes, self.keep)
        places = boxes[told.box] * boxes.new_tensor([size[1], size[0]]).repeat(2)
        labels, scores, which = [self.labels[c] for c in told.label.tolist()], told.prob.tolist(), told.box.tolist()
        answers = answers_of(labels, which, scores, self.settings.threshold)
        return {"labels": labels, "scores": scores, "boxes_xyxy": places.tolist(), "default_boxes": which, "answers": answers}

    def _decoded(self, output: Output, i: int) -> Float[Tensor, "n 4"]:
        """A picture's boxes in shares of it."""
        return cxcywh_to_xyxy(boxes_at(output["default_boxes"][i], output["offsets"][i], self.settings.variances))

    def _map(self, logits: Float[Tensor, "1 c h w"], size: tuple[int, int]) -> UInt8[np.ndarray, "y x"]:
        """The likeliest class of each pixel: of logits at the view's size, where they were learned, brought to the picture's."""
        told = self.settings
        seen = resized(logits.float(), (told.view.size, told.view.size), told.align_corners)
        most = seen.new_full(size, -torch.inf)
        best = torch.zeros(size, dtype=torch.long, device=seen.device)
        step = max(1, _AT_ONCE // (size[0] * size[1]))
        for first in range(0, seen.shape[1], step):
            value, label = resized(seen[:, first : first + step], size, told.align_corners)[0].max(0)
            more = value > most
            most, best = torch.where(more, value, most), torch.where(more, label + first, best)
        return best.to(torch.uint8).cpu().numpy()

    def metrics(self) -> dict[str, Metric]:
        """Average precision first, then the map's numbers, then whether boxes and map agree; of one job, its own."""
        return joint_metrics(known_map, self.settings.average_precision, self.settings.jobs)

    @property
    def headlines(self) -> tuple[str, ...]:
        """The first number of boxes, and that of the map."""
        first, *others = self.metrics()
        return first, *(name for name in others if name == NUMBERS[0])

    # ---- what can be explained ---------------------------------------------------------------------------------------

    def answer(self, output: Output) -> Shaped[Tensor, "b s"]:
        """The surest box, or the largest region where no box reaches the threshold, as `answers` has it."""
        return surest(output, self.settings.threshold)

    def gold(self, examples: Sequence[Example]) -> Shaped[Tensor, "b s"]:
        """What each example's `label` names: a box, `dog@17`; `dog`, or of its first object, any box; or the region `dog@map`.

        Raises:
            BadData: an example without a label or objects.
            BadUsage: no such label or box, or a region that the map does not have.
        """
        return torch.stack([self._asked(e) for e in examples])

    def _asked(self, example: Example) -> Int[Tensor, " s"]:
        num_cells = self.map_size[0] * self.map_size[1] if self.segments else 0
        place, label = read_answer(asked_name(example), self.labels, len(self.defaults) if self.detects else 0, num_cells)
        if place != REGION:
            return F.pad(torch.tensor([place, label]), (0, num_cells))
        cells = self._cells(example)
        if not (cells == label).any():
            there = ", ".join([self.labels[i - 1] if i else "background" for i in cells.unique().tolist()])
            raise BadUsage(f"answer {asked_name(example)!r}: the map of {where(example)} has none of it; it has {there}")
        return region_of(cells, torch.tensor([label]))[0]

    @torch.no_grad()
    def _cells(self, example: Example) -> Int[Tensor, "1 n"]:
        """What the map says of the whole picture."""
        training, device = self.model.training, next(self.model.parameters()).device
        try:
            return cells_of(self.model.eval()(loader.move(self.collate([example]), device))).cpu()
        finally:
            self.model.train(training)

    def score(self, output: Output, answer: Shaped[Tensor, "b s"]) -> Float[Tensor, " b"]:
        """log p(class at the box) in nats, of any box the highest; of a region the mean over its cells."""
        return strength(output, answer)

    def called(self, answer: Shaped[Tensor, "b s"], batch: Batch) -> list[str]:
        """Each answer as it can be asked for."""
        return [written(row, self.labels) for row in answer.tolist()]

    def places(self, output: Output, answer: Shaped[Tensor, "b s"], batch: Batch) -> list[dict[str, Any]]:
        """What each answer is called; of a box where it lies, of a region the cells that it has."""
        found = []
        for i, (row, name, (height, width)) in enumerate(zip(answer, self.called(answer, batch), batch["size_hw"].tolist(), strict=True)):
            one: dict[str, Any] = {"answer": name, "size_hw": [height, width]}
            place, label = row[:2].tolist()
            if place == REGION:
                one["region"] = ["".join(map(str, cells)) for cells in row[2:].reshape(self.map_size).tolist()]
            else:
                at = int(output["class_logits"][i].log_softmax(-1)[:, label].argmax()) if place < 0 else place
                box = clipped(self._decoded(output, i)[at])
                one["box_xyxy"] = [round(x, 3) for x in (box * box.new_tensor([width, height]).repeat(2)).tolist()]
            found.append(one)
        return found


def known_map(example: Example) -> UInt8[np.ndarray, "h w"] | None:
    """An example's map, None where it has none."""
    return read_map(example) if has_map(example) else None


def _truth(batch: Batch) -> BoxTruth:
    boxes, labels = batch["boxes_cxcywh"], batch["class_index"]
    present = pad_sequence([torch.ones_like(one, dtype=torch.bool) for one in labels], batch_first=True)
    return BoxTruth(pad_sequence(boxes, batch_first=True), pad_sequence(labels, batch_first=True), present, batch["boxed"])


def _sites(settings: JointSettings) -> dict[str, Site]:
    """`input`, square patches of pixels; `backbone`, the cells of its last map; where there are no boxes `decoded`, the finest map.

    Boxes of a scale do not look at finer ones, so that no map of the decoder is behind whatever can be asked.
    """
    axes = {"p": settings.patch, "q": settings.patch}
    last = 3 - FINEST[settings.finest]  # of the backbone's four maps, as the decoder counts
    found = {
        "input": Site("pixels", "b c (h p) (w q)", unit="c p q", axes=axes, picture="picture"),
        "backbone": Site(f"net.encoded.{last}", "b d h w", picture="picture"),
    }
    return found if settings.jobs != "segmentation" else found | {"decoded": Site("net.decoded.0", "b d h w", picture="picture")}


# ---- building ---------------------------------------------------------------------------------------------------------


def shape_of(settings: JointSettings, num_classes: int) -> Shape:
    """Parts and sizes of the network; what the job that is left out teaches is left out."""
    told, both = settings, settings.jobs == "both"
    segment = told.jobs != "detection"
    return Shape(
        num_classes,
        detect=told.jobs != "segmentation",
        segment=segment,
        pair=told.pair,
        fused=told.fused and segment,
        inner=told.inner and both,
        agnostic=told.agnostic and segment,
        attention=told.attention,
        finest=told.finest,
        num_extra=told.num_extra,
        extra_blocks=told.extra_blocks,
        extra_channels=told.extra_channels,
        width=told.width,
        residual=told.residual,
        squeeze=told.squeeze,
        inner_widths=told.inner_widths,
        narrow=told.narrow,
        norm=told.norm,
        project_deepest=told.project_deepest,
        detach=told.detach,
        share_agnostic=told.share_agnostic,
        align_corners=told.align_corners,
        background=told.background,
    )


def network(settings: JointSettings, num_classes: int, pretrained: str) -> JointModel:
    """The network that the settings describe; `pretrained` weights are the backbone's.

    Raises:
        BadUsage: settings that cannot be together.
    """
    told, view = settings, settings.view
    if view.size % told.patch:
        raise BadUsage(f"task.patch={told.patch}: patches do not fill a view of {view.size} pixels; take a divisor")
    backbone = map_backbone(told.backbone, pretrained)
    if told.train_norms and told.frozen != "all":
        thaw_norms(backbone)
    if told.frozen:
        backbone.freeze(all_of_it=told.frozen == "all")
    tiling = Tiling(told.smallest, told.low, told.high, told.ratios, told.scales)
    net = TripleNet(backbone, shape_of(told, num_classes), tiling)
    return JointModel(net, view.mean or IMAGENET_MEAN, view.std or IMAGENET_STD, view.size)


def build(settings: JointSettings, train: Sequence[Example]) -> DetectionSegmentation:
    """The task as `settings` say; its labels are the set's `classes`, else those that the training examples' objects name.

    Raises:
        BadData: no training example tells what is to be learned.
    """
    source = str(train[0]["id"]) if train else "training set"
    require(train, ("image",), source)
    if settings.jobs != "segmentation" and not any(e.get("objects") for e in train):
        raise BadData(f"{source}: no picture tells its objects; learn maps alone with task.jobs=segmentation")
    if settings.jobs != "detection" and not any(map(has_map, train)):
        raise BadData(f"{source}: no picture has a map; read them with ?maps=yes, or learn boxes alone with task.jobs=detection")
    labels = train[0].get("classes") or sorted({str(o["label"]) for e in train for o in e.get("objects") or ()}, key=natural)
    if not labels:
        raise BadData(f"{source}: neither classes nor objects tell what the maps are of")
    return DetectionSegmentation(network(settings, len(labels), settings.pretrained), labels, settings)


def restore(settings: JointSettings, folder: pathlib.Path) -> DetectionSegmentation:
    """The task that a run's `preprocessing` folder describes; weights come after, and lie in memory as pictures do, or each pass would copy
    them.
    """
    labels = read_labels(folder)
    model = network(settings, len(labels), "").to(memory_format=torch.channels_last)
    return DetectionSegmentation(model, labels, settings)
