"""Picture classification: any backbone, softmax or one sigmoid per class."""

import pathlib
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from pellucid.coerce import natural
from pellucid.data.mix import mix
from pellucid.data.pictures import read_labels, readable, test_pictures, train_pictures, where, write_labels
from pellucid.data.read import require
from pellucid.data.subset import kept_classes, known_labels
from pellucid.errors import BadData, BadUsage
from pellucid.losses.bce import binary_cross_entropy, smoothed, soft_cross_entropy
from pellucid.metrics.classification import Accuracy, MacroF1, Ranked, TopK
from pellucid.nn.pictures import PictureNetwork, picture_network, sites_of
from pellucid.task import Batch, Example, Metric, Output
from pellucid.tasks.image_classification.settings import ImageSettings

BEST = 5  # labels that a prediction ranks


class ImageClassification:
    """A picture to one of `labels`.

    Examples hold `image`, a path or bytes, and `label`; perhaps `among`, the classes that their set has at all, `right`, all labels that
    count as right (ImageNet-ReaL), and `corruption`.
    """

    score_unit = "log-probability"
    takes = "image"

    def __init__(self, model: PictureNetwork, labels: Sequence[str], settings: ImageSettings):
        self.model, self.labels, self.settings = model, tuple(labels), settings
        self.index = {label: i for i, label in enumerate(self.labels)}
        self.sites = sites_of(model, settings.view.size)

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose pictures can be read and whose labels are known.

        Raises:
            BadData: a column is missing, a label unknown, a picture broken; with the row.
        """
        require(examples, ("image",), source)
        known_labels([{"label": e["label"]} for e in examples if "label" in e], self.labels, source)
        kept = readable(examples, source, self.settings.check, self.settings.broken)
        return [{**e, **({"label": str(e["label"])} if "label" in e else {})} for e in kept]

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`picture` (b 3 h w, uint8), `target` (b c) where the examples have labels, `among_present` (b c) where classes are left out."""
        pictures = test_pictures(examples, self.settings.view)
        batch: Batch = {"picture": pictures, **self._target(examples), **self.model.extras(len(examples))}
        if any("among" in e for e in examples):
            batch["among_present"] = torch.tensor([kept_classes(self.labels, e.get("among") or self.labels, where(e)) for e in examples])
        return batch

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """As `collate`, of random views, mixed in pairs."""
        batch = self._target(examples)
        pictures = train_pictures(examples, self.settings.train_view, self.settings.view.size, seeds)
        target = smoothed(batch["target"], self.settings.smoothing)
        picture, target = mix(pictures, target, self.settings.mix, seeds[0])
        return {"picture": picture, "target": target}

    def _target(self, examples: Sequence[Example]) -> Batch:
        if not all("label" in e for e in examples):
            return {}
        return {"target": F.one_hot(self.gold(examples), len(self.labels)).float()}

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy of soft targets, in nats, or binary cross-entropy averaged over classes."""
        logits, target = output["logits"].float(), batch["target"]
        if self.settings.loss == "cross_entropy":
            return {"cross_entropy": soft_cross_entropy(logits, target)}
        found = binary_cross_entropy(logits, target, threshold=self.settings.threshold, sum_classes=self.settings.sum_classes)
        return {"binary_cross_entropy": found}

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """Label names; each knows the next likely ones as `best`."""
        best = output["logits"].topk(min(BEST, len(self.labels)), -1).indices.tolist()
        return [Ranked([self.labels[i] for i in row]) for row in best]

    def metrics(self) -> dict[str, Metric]:
        """Top-1 and top-5 accuracy, macro F1."""
        return {"top1": Accuracy(), "top5": TopK(BEST), "macro_f1": MacroF1()}

    def answer(self, output: Output) -> Shaped[Tensor, " b"]:
        """The likeliest label's index."""
        return output["logits"].argmax(-1)

    def gold(self, examples: Sequence[Example]) -> Shaped[Tensor, " b"]:
        """The indices of the examples' labels.

        Raises:
            BadData: an example without a label, or with one that the model does not know.
        """
        require(examples, ("label",), "a picture's answer")
        known_labels([{"label": e["label"]} for e in examples], self.labels, "a picture's answer")
        return torch.tensor([self.index[str(e["label"])] for e in examples])

    def score(self, output: Output, answer: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """log p(label) in nats: of the softmax, or of the label's own sigmoid where that was trained."""
        logits = output["logits"].float()
        log_probs = logits.log_softmax(-1) if self.settings.loss == "cross_entropy" else F.logsigmoid(logits)
        return log_probs.gather(-1, answer[:, None])[:, 0]


# ---- building ---------------------------------------------------------------------------------------------------------


def build(settings: ImageSettings, train: Sequence[Example]) -> ImageClassification:
    """The task as `settings` say, its labels from the training examples."""
    require(train, ("image", "label"), str(train[0]["id"]) if train else "training set")
    labels = tuple(sorted({str(e["label"]) for e in train}, key=natural))
    if len(labels) < 2:
        raise BadData(f"{train[0]['id']}: every label is {labels[0]!r}; a classifier needs two or more")
    if settings.loss == "bce" and settings.smoothing and settings.threshold is not None:
        both = f"task.smoothing={settings.smoothing} with task.threshold={settings.threshold}"
        raise BadUsage(f"{both}: the threshold undoes smoothing; set one to 0")
    return ImageClassification(picture_network(settings, len(labels), settings.pretrained), labels, settings)


def restore(settings: ImageSettings, folder: pathlib.Path) -> ImageClassification:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    labels = read_labels(folder)
    return ImageClassification(picture_network(settings, len(labels), ""), labels, settings)


def write(task: ImageClassification, folder: pathlib.Path) -> None:
    """What the weights do not hold."""
    write_labels(task.labels, folder)
