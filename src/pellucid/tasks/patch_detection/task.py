"""Patch detection: where in a picture its patches were cut out, learned without labels; or all that is like one patch, learned with."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from pellucid.coerce import nearest
from pellucid.data.boxes import spoiled
from pellucid.data.padded import picture_batch
from pellucid.data.patches import Patched, given_patches, id_seed, large_enough, measured_patches, random_patches
from pellucid.data.pictures import readable, where
from pellucid.data.read import require
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.errors import BadData, BadUsage
from pellucid.losses.features import feature_loss
from pellucid.losses.matching import Costs, Matches, match
from pellucid.losses.set_prediction import Truth, Weights, class_amount, named, set_losses
from pellucid.metrics.coco import coco_metrics
from pellucid.metrics.patches import patch_metrics
from pellucid.nn.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from pellucid.nn.detectors import shape_of, sites_of
from pellucid.nn.detr import layers_of
from pellucid.nn.detr_names import ours
from pellucid.nn.patch_detr import PatchDetr, Patches
from pellucid.nn.queries import placed
from pellucid.nn.resnet import ResNet
from pellucid.nn.resnet_weights import pretrained_resnet
from pellucid.task import Batch, Example, Metric, Output
from pellucid.tasks.patch_detection.model import PatchModel
from pellucid.tasks.patch_detection.one_shot import MATCH, drawn, questions
from pellucid.tasks.patch_detection.settings import PatchSettings

FOUND = 1  # the class of a query that found a patch; 0 is never used and 2 is none, so that the authors' weights fit


class PatchDetection:
    """Pictures and patches to boxes.

    Examples hold `image`; perhaps `patches`, pictures of what is looked for (paths, bytes, `{"image", "box_xyxy"}`), and `corruption`.
    Without `patches`, random ones are cut out of the picture itself, when measured always the same. For `one_shot` they hold
    `objects`, as in detection, or `patches`. An answer is a query and a patch, written `patch 1@17`, with `one_shot` `match@17`.
    """

    score_unit = "log-probability"
    takes = "image"

    def __init__(self, model: PatchModel, settings: PatchSettings):
        self.model, self.settings = model, settings
        self.labels = (MATCH,) if settings.one_shot else tuple(f"patch {i + 1}" for i in range(settings.num_patches))
        self.group = settings.num_queries // len(self.labels)
        self.sites = sites_of(settings.patch)

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose pictures can be read and have room for patches; for `one_shot` one of each picture and class in it.

        Raises:
            BadData: a column is missing, or a picture broken; with the row.
            BadUsage: more patches than the model looks for.
        """
        require(examples, ("image",), source)
        kept = readable(examples, source, self.settings.check, self.settings.broken)
        given = [e for e in kept if e.get("patches")]
        for e in given:
            self._countable(e)
        if self.settings.one_shot:
            rest = [e for e in kept if not e.get("patches") and not e.get("pool")]
            if any("objects" not in e for e in rest):
                raise BadData(f"{source}: neither patches nor objects; give each picture `patches`, pictures of what is looked for in it")
            asked = [e for e in kept if e.get("patches") or e.get("pool")]
            return [*asked, *(questions(rest, source) if rest else [])]
        plain = [{k: v for k, v in e.items() if k not in ("label", "labels")} for e in kept]  # a folder's name is no answer here
        if self.settings.check == "none" or given:
            return plain
        return large_enough(plain, source, self.settings.view)

    def _countable(self, example: Example) -> None:
        num, most = len(example["patches"]), self.settings.num_patches
        if num > most and not self.settings.one_shot:
            raise BadUsage(f"{where(example)}: {num} patches, but the model was trained to look for {most} at once; ask in several turns")

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`picture`, its masks, `size_hw`, `query_patch` and which are there, and where it is known `boxes_cxcywh` and `class_index`."""
        return self._batch(examples, [_spoiled(self._measured(e), e) for e in examples])

    def _measured(self, example: Example) -> Patched:
        view, place = self.settings.view, where(example)
        if example.get("patches"):
            return given_patches(example["image"], example["patches"], view, place)
        seed = id_seed(str(example["id"]))
        if self.settings.one_shot:
            return given_patches(example["image"], [drawn(example, seed)], view, place)
        return measured_patches(example["image"], self.settings.num_patches, view, seed, place)

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """As `collate`, of random views; also which queries are told their patch, and perhaps in which order the learned ones come."""
        told, view = self.settings, self.settings.view
        if told.one_shot:
            queries = [[drawn(e, seed)] for e, seed in zip(examples, seeds, strict=True)]
            found = [given_patches(e["image"], q, view, where(e), seed) for e, q, seed in zip(examples, queries, seeds, strict=True)]
        else:
            found = [random_patches(e["image"], told.num_patches, view, seed, where(e)) for e, seed in zip(examples, seeds, strict=True)]
        batch = self._batch(examples, found)
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        batch["query_keep"] = torch.stack([torch.rand(told.num_queries, generator=draw) >= told.patch_drop for draw in draws])
        if told.query_shuffle:
            batch["query_order"] = torch.stack([torch.randperm(told.num_queries, generator=draw) for draw in draws])
        return batch

    def _batch(self, examples: Sequence[Example], found: Sequence[Patched]) -> Batch:
        stride = self.model.net.backbone.stride
        batch = picture_batch([f.picture for f in found], [f.size for f in found], self.settings.patch, stride) | {
            "query_patch": pad_sequence([f.patches for f in found], batch_first=True),
            "query_patch_present": pad_sequence([torch.ones(len(f.patches), dtype=torch.bool) for f in found], batch_first=True),
        }
        wanted = [self._wanted(e, f) for e, f in zip(examples, found, strict=True)]
        boxes = [b for b in wanted if b is not None]
        if len(boxes) < len(wanted):
            return batch
        shares = [xyxy_to_cxcywh(b / torch.tensor(f.size[::-1]).repeat(2)) for b, f in zip(boxes, found, strict=True)]
        return batch | {"boxes_cxcywh": shares, "class_index": [torch.full((len(b),), FOUND) for b in boxes]}

    def _wanted(self, example: Example, found: Patched) -> Float[Tensor, "n 4"] | None:
        """Where what is looked for lies, in pixels of the stored picture; None where nobody knows."""
        if not self.settings.one_shot or "objects" not in example:
            return found.boxes_xyxy
        height, width = found.size
        boxes = [thing["box_xyxy"] for thing in example["objects"] if not thing.get("crowd")]
        inside = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4).clamp_min(0)
        return torch.minimum(inside, torch.tensor([width, height, width, height]).float())

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy in nats, the boxes' distance, 1 - GIoU and the features' distance of each layer, the last under plain names."""
        told = self.settings
        truth = Truth(batch["class_index"], batch["boxes_cxcywh"])
        logits, boxes = layers_of(output, "logits"), layers_of(output, "boxes_cxcywh")
        costs = Costs(told.label_cost, told.box_cost, told.giou_cost)
        matches = match(logits, boxes, truth.classes, truth.boxes, costs, self._own_groups(truth))
        weights = Weights(told.label_weight, told.box_weight, told.giou_weight, told.no_object_weight)
        losses = set_losses(logits, boxes, truth, matches, weights)
        if "features" in output:
            losses["feature"] = told.feature_weight * self._feature_loss(output, truth, matches)
        return named(losses)

    def _own_groups(self, truth: Truth) -> list[Bool[Tensor, "q p"]] | None:
        if not self.settings.match_own_group or self.settings.one_shot:
            return None
        of_query = torch.arange(self.settings.num_queries, device=truth.boxes[0].device) // self.group
        own = rearrange(of_query, "q -> q 1") == torch.arange(len(self.labels), device=of_query.device)
        return [own] * len(truth.boxes)

    def _feature_loss(self, output: Output, truth: Truth, matches: Matches) -> Float[Tensor, " l"]:
        return feature_loss(layers_of(output, "features"), list(output["patch_features"]), truth, matches)

    def amounts(self, batch: Batch) -> dict[str, float]:
        """Over how much each part of the loss is a mean: weights of queries, or patches."""
        sizes = [len(c) for c in batch["class_index"]]
        ce = class_amount(sizes, self.settings.num_queries, self.settings.no_object_weight)
        each = {"ce": ce, **dict.fromkeys(("bbox", "giou", "feature"), float(sum(sizes)))}
        return each | {f"{name}_{i}": value for name, value in each.items() for i in range(self.settings.decoder_layers - 1)}

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """All queries whose patch is there, the surest first: `labels` (`patch 1`), `scores`, `boxes_xyxy` in pixels, `queries`.

        `answers` are those from the threshold on, as `patch 1@17`. But for `one_shot` also, one entry per patch, `best` (the place of the
        surest box of its queries), `patches_xyxy` (where it was cut out, if that is known) and `cosines` of that query's features and
        its own, where they are reconstructed.
        """
        scores = output["logits"].float().softmax(-1)[..., FOUND].masked_fill(~output["query_present"], -1)
        height, width = batch["size_hw"].unbind(1)
        scale = rearrange(torch.stack([width, height, width, height]), "d b -> b 1 d")
        boxes = cxcywh_to_xyxy(output["boxes_cxcywh"].float()) * scale
        made = []
        for i, order in enumerate(scores.argsort(stable=True, dim=-1, descending=True)):
            queries = order[: int(output["query_present"][i].sum())]
            told = self._told(scores[i][queries].tolist(), boxes[i][queries].tolist(), queries.tolist())
            made.append(told if self.settings.one_shot else told | self._of_patches(output, batch, i, queries))
        return made

    def _told(self, scores: list[float], boxes: list[list[float]], queries: list[int]) -> dict[str, Any]:
        labels = [self.labels[query // self.group] for query in queries]
        each = zip(labels, queries, scores, strict=True)
        answers = [f"{label}@{query}" for label, query, score in each if score >= self.settings.threshold]
        return {"labels": labels, "scores": scores, "boxes_xyxy": boxes, "queries": queries, "answers": answers}

    def _of_patches(self, output: Output, batch: Batch, i: int, queries: Int[Tensor, " n"]) -> dict[str, Any]:
        patches = (queries // self.group).tolist()
        best = [patches.index(patch) for patch in range(len(patches) // self.group)]
        told: dict[str, Any] = {"best": best}
        if "boxes_cxcywh" in batch:
            height, width = batch["size_hw"][i].tolist()
            told["patches_xyxy"] = (cxcywh_to_xyxy(batch["boxes_cxcywh"][i]) * torch.tensor([width, height, width, height])).tolist()
        if "features" in output:
            pairs = output["features"][i][queries[best]].float(), output["patch_features"][i][: len(best)].float()
            told["cosines"] = F.cosine_similarity(*pairs, dim=-1).tolist()
        return told

    def metrics(self) -> dict[str, Metric]:
        """Recall of patches at an overlap of a half, mean overlap, cosine of features; for `one_shot` COCO's numbers, AP first."""
        return coco_metrics() if self.settings.one_shot else patch_metrics()

    def answer(self, output: Output) -> Shaped[Tensor, "b 2"]:
        """The surest query, and its patch."""
        best = _log_found(output).argmax(-1)
        return torch.stack([best, best // self.group], -1)

    def gold(self, examples: Sequence[Example]) -> Shaped[Tensor, "b 2"]:
        """Query and patch that each example's `label` names, as `patch 1@17`.

        Raises:
            BadData: an example without a label.
            BadUsage: a patch or a query that there is not.
        """
        return torch.tensor([self._asked(e) for e in examples])

    def _asked(self, example: Example) -> tuple[int, int]:
        if not example.get("label"):
            raise BadData(f"{where(example)}: no label says which box is meant, as {self.labels[0]}@0")
        name, _, query = str(example["label"]).partition("@")
        if name not in self.labels:
            raise BadUsage(f"answer {example['label']!r}: no such patch{nearest(name, self.labels)}")
        patch = self.labels.index(name)
        first, last = patch * self.group, (patch + 1) * self.group - 1
        if not (query.isdecimal() and first <= int(query) <= last):
            raise BadUsage(f"answer {example['label']!r}: expected a query that looks for it, {name}@{first} to {name}@{last}")
        return int(query), patch

    def score(self, output: Output, answer: Shaped[Tensor, "b 2"]) -> Float[Tensor, " b"]:
        """log p(the query found its patch) in nats."""
        return _log_found(output).gather(-1, answer[:, :1])[:, 0]

    def places(self, output: Output, answer: Shaped[Tensor, "b 2"], batch: Batch) -> list[dict[str, Any]]:
        """What each answer is called, and its box."""
        names = [f"{self.labels[patch]}@{query}" for query, patch in answer.tolist()]
        return placed(output["boxes_cxcywh"], answer[:, 0], names, batch["size_hw"])

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The authors' weights under our names."""
        return ours(tensors)[0]


def _spoiled(found: Patched, example: Example) -> Patched:
    """The picture as its `corruption` says; its patches stay as they are."""
    corruption = example.get("corruption")
    return replace(found, picture=spoiled(found.picture, corruption, where(example))) if corruption else found


def _log_found(output: Output) -> Float[Tensor, "b q"]:
    """log p of each query having found something; of a query without a patch, minus infinity."""
    log_probs = output["logits"].float().log_softmax(-1)[..., FOUND]
    return log_probs.masked_fill(~output["query_present"], -torch.inf)


# ---- building ---------------------------------------------------------------------------------------------------------


def network(settings: PatchSettings, backbone: ResNet) -> PatchModel:
    """The detector that the settings describe, on a backbone."""
    one = settings.one_shot
    patches = Patches(1 if one else settings.num_patches, settings.reconstruct and not one, settings.detach_target, pooled=one)
    return PatchModel(
        PatchDetr(backbone, shape_of(settings, 2), patches, settings.mask_padding), IMAGENET_MEAN, IMAGENET_STD, settings.aux_loss
    )


def build(settings: PatchSettings, train: Sequence[Example]) -> PatchDetection:
    """The task as `settings` say, with the backbone's pretrained weights."""
    require(train, ("image", "objects") if settings.one_shot else ("image",), str(train[0]["id"]) if train else "training set")
    return PatchDetection(network(settings, _backbone(settings, settings.pretrained)), settings)


def restore(settings: PatchSettings) -> PatchDetection:
    """The task without its weights, which come after."""
    return PatchDetection(network(settings, _backbone(settings, "")), settings)


def _backbone(settings: PatchSettings, pretrained: str) -> ResNet:
    return pretrained_resnet(settings.backbone, pretrained, settings.dilate, settings.frozen)
