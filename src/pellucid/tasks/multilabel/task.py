"""Tagging pictures: any number of labels each, where most are absent and some may be unknown."""

import pathlib
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from pellucid.coerce import natural
from pellucid.data.pictures import read_labels, readable, test_pictures, train_pictures, write_labels
from pellucid.data.read import require
from pellucid.data.subset import first_labels, known_labels
from pellucid.errors import BadData
from pellucid.losses.asymmetric import AdaptiveAsymmetry, Asymmetry, asymmetric_loss
from pellucid.losses.bce import binary_cross_entropy
from pellucid.losses.focal import focal_loss
from pellucid.losses.reduction import Reduction
from pellucid.metrics.multilabel import MeanAveragePrecision, PrecisionRecall, named_above
from pellucid.metrics.multilabel_confidence import LabelCalibration
from pellucid.nn.pictures import PictureNetwork, picture_network, sites_of
from pellucid.task import Batch, Example, Metric, Output
from pellucid.tasks.multilabel.settings import MultilabelSettings


class Multilabel:
    """A picture to those of `labels` that are in it.

    Examples hold `image` and `labels`, names; perhaps `absent`, names that were looked for and not found (then all others are
    unknown), `unknown`, names to be left out, `classes`, all names of the set, and `corruption`.
    """

    score_unit = "log-probability"
    takes = "image"

    def __init__(self, model: PictureNetwork, labels: Sequence[str], settings: MultilabelSettings):
        self.model, self.labels, self.settings = model, tuple(labels), settings
        self.index = {label: i for i, label in enumerate(self.labels)}
        self.sites = sites_of(model, settings.view.size)
        if settings.loss == "asl-adaptive":
            model.focus = AdaptiveAsymmetry(settings.balance, start=settings.gamma_neg)

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose pictures can be read and whose labels are known.

        Raises:
            BadData: a column is missing, a label unknown, a picture broken; with the row.
        """
        require(examples, ("image",), source)
        known_labels([{key: e[key] for key in ("labels", "absent") if key in e} for e in examples], self.labels, source)
        return list(readable(examples, source, self.settings.check, self.settings.broken))

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`picture` (b 3 h w, uint8), and where the examples have labels `target` (b c) and `known_present` (b c)."""
        pictures = test_pictures(examples, self.settings.view)
        return {"picture": pictures, **self._target(examples), **self.model.extras(len(examples))}

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """As `collate`, of random views."""
        pictures = train_pictures(examples, self.settings.train_view, self.settings.view.size, seeds)
        return {"picture": pictures, **self._target(examples)}

    def _target(self, examples: Sequence[Example]) -> Batch:
        if not all("labels" in e for e in examples):
            return {}
        target = torch.stack([self._marked(e["labels"]) for e in examples])
        return {"target": target.float(), "known_present": torch.stack([self._known(e) for e in examples])}

    def _marked(self, labels: Sequence[str]) -> Bool[Tensor, " c"]:
        marks = torch.zeros(len(self.labels), dtype=torch.bool)
        marks[[self.index[label] for label in labels]] = True
        return marks

    def _known(self, example: Example) -> Bool[Tensor, " c"]:
        """Labels whose presence or absence somebody told."""
        if "absent" in example and self.settings.unlabelled == "ignore":
            return self._marked(example["labels"]) | self._marked(example["absent"])
        return ~self._marked([label for label in example.get("unknown", ()) if label in self.index])

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Asymmetric, focal or binary cross-entropy in nats, a mean over examples."""
        logits, target, known, settings = output["logits"].float(), batch["target"], batch["known_present"], self.settings
        if settings.loss == "bce":
            return {"bce": binary_cross_entropy(logits, target, sum_classes=settings.sum_classes, present=known)}
        reduction: Reduction = "mean_samples" if settings.sum_classes else "mean"
        if settings.loss == "focal":
            return {"focal": focal_loss(logits, target, settings.gamma, present=known, reduction=reduction)}
        focus: AdaptiveAsymmetry | None = getattr(self.model, "focus", None)
        gamma_neg = focus(logits, target, known) if focus else settings.gamma_neg
        asymmetry = Asymmetry(gamma_neg, settings.gamma_pos, settings.margin, settings.detach_focus)
        return {"asl": asymmetric_loss(logits, target, asymmetry, known, reduction)}

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """Names of the labels above the threshold, the likeliest first, and the probability of every label."""
        return named_above(output["logits"].float().sigmoid().cpu().numpy(), self.labels, self.settings.threshold)

    def metrics(self) -> dict[str, Metric]:
        """Mean average precision; precision, recall and F1 over classes and overall, at the threshold or of the best three; calibration."""
        at = self.settings.threshold
        counted = {name: PrecisionRecall(self.labels, name, at) for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")}
        best = {f"{name}_top3": PrecisionRecall(self.labels, name, at, top=3) for name in ("CF1", "OF1")}
        return {"mAP": MeanAveragePrecision(self.labels), **counted, **best, "ECE": LabelCalibration(self.labels)}

    def answer(self, output: Output) -> Shaped[Tensor, " b"]:
        """The likeliest label's index."""
        return output["logits"].argmax(-1)

    def gold(self, examples: Sequence[Example]) -> Shaped[Tensor, " b"]:
        """The index of each example's `label`, else of the first of its `labels`.

        Raises:
            BadData: an example without labels, or with one that the model does not know.
        """
        return torch.tensor([self.index[name] for name in first_labels(examples, self.labels, "a picture's answer")])

    def score(self, output: Output, answer: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """log p(one label) in nats, whatever the others."""
        return F.logsigmoid(output["logits"].float()).gather(-1, answer[:, None])[:, 0]


# ---- building ---------------------------------------------------------------------------------------------------------


def build(settings: MultilabelSettings, train: Sequence[Example]) -> Multilabel:
    """The task as `settings` say; its labels are the set's `classes`, else those that the training examples name."""
    require(train, ("image", "labels"), str(train[0]["id"]) if train else "training set")
    told = train[0].get("classes")
    labels = told or sorted({str(x) for e in train for key in ("labels", "absent") for x in e.get(key, ())}, key=natural)
    if not labels:
        raise BadData(f"{train[0]['id']}: no picture has a label")
    return Multilabel(picture_network(settings, len(labels), settings.pretrained), labels, settings)


def restore(settings: MultilabelSettings, folder: pathlib.Path) -> Multilabel:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    labels = read_labels(folder)
    return Multilabel(picture_network(settings, len(labels), ""), labels, settings)


def write(task: Multilabel, folder: pathlib.Path) -> None:
    """What the weights do not hold."""
    write_labels(task.labels, folder)
