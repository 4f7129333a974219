"""Video classification: a set of local features, of frames, motion and sound, to one label or several."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid import checkpoint
from pellucid.coerce import natural
from pellucid.data.clips.held import Held, shape
from pellucid.data.pictures import read_labels, write_labels
from pellucid.data.read import require
from pellucid.data.subset import first_labels, known_labels
from pellucid.errors import BadData, BadUsage
from pellucid.losses.bce import binary_cross_entropy, soft_cross_entropy
from pellucid.metrics.classification import Accuracy, MacroF1, Ranked, TopK, TopMean
from pellucid.metrics.multilabel import MeanAveragePrecision, named_above
from pellucid.metrics.tagging import GlobalAveragePrecision, HitAtOne, PrecisionAtRecall
from pellucid.task import Batch, Example, Metric, Output, Site
from pellucid.tasks.video.batch import clip_batch
from pellucid.tasks.video.extract import checked, extracted
from pellucid.tasks.video.model import VideoNetwork
from pellucid.tasks.video.names import ours
from pellucid.tasks.video.settings import VideoSettings
from pellucid.tasks.video.streams import stream

BEST = 5  # labels that a prediction ranks
WIDTHS = "modalities.json"


class Video:
    """A clip to one of `labels`, or, of a binary cross-entropy, to any number of them.

    Examples hold `video`, a path or a clip, or `features`, local features by modality; and `label` or `labels`; perhaps `corruption`.
    """

    score_unit = "log-probability"
    takes = "video"

    def __init__(self, model: VideoNetwork, labels: Sequence[str], widths: Mapping[str, int], settings: VideoSettings):
        self.model, self.labels, self.widths, self.settings = model, tuple(labels), dict(widths), settings
        self.index = {label: i for i, label in enumerate(self.labels)}
        self.sites = _sites(self.widths, settings.end_to_end)

    @property
    def several(self) -> bool:
        """Whether a clip may have any number of labels."""
        return self.settings.loss == "bce"

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Examples whose labels are known and whose local features are there: made, and kept, or read.

        Raises:
            BadData: a column is missing, a label unknown, a clip broken, features of another width; with the row.
            BadUsage: clips, and no backbone that could see them.
        """
        known_labels([{key: e[key] for key in ("label", "labels") if key in e} for e in examples], self.labels, source)
        kept = [{**e, **({"label": str(e["label"])} if "label" in e else {})} for e in examples]
        filmed = [e for e in kept if "video" in e]
        if not filmed:
            require(kept, ("features",), source)
            return [_fitting(e, self.widths) for e in kept]
        require(kept, ("video",), source)
        if not self.settings.streams:
            raise BadUsage(f"{source}: clips, but this model has no backbone for them (task.streams); give features as it was trained on")
        if self.settings.end_to_end:
            return checked(kept, source, self.settings)
        device = next(self.model.parameters()).device
        return extracted(kept, source, dict(self.model.streams.named_children()), self.settings, device)

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Of each modality its local features (b n f), `MODALITY_present`, the times or numbers of its features as
        `MODALITY_time`, `MODALITY_film`; `target` where the examples have labels.
        """
        return clip_batch(examples, self.widths, self.settings) | self._target(examples)

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """As `collate`, of features drawn from equal parts of the clip, without what explanations need."""
        return clip_batch(examples, self.widths, self.settings, seeds) | self._target(examples)

    def _target(self, examples: Sequence[Example]) -> Batch:
        key = "labels" if self.several else "label"
        if not all(key in e for e in examples):
            return {}
        if not self.several:
            return {"target": self.gold(examples)}
        marks = torch.zeros(len(examples), len(self.labels))
        for row, example in zip(marks, examples, strict=True):
            row[[self.index[label] for label in example["labels"]]] = 1
        return {"target": marks}

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy in nats; or binary cross-entropy, averaged or summed over classes."""
        logits = output["logits"].float()
        if not self.several:
            return {"cross_entropy": soft_cross_entropy(logits, batch["target"])}
        return {"binary_cross_entropy": binary_cross_entropy(logits, batch["target"], sum_classes=self.settings.sum_classes)}

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """Label names, each with the next likely ones as `best`; or the labels likelier than not, with every label's probability."""
        logits = output["logits"].float()
        if self.several:
            return named_above(logits.sigmoid().cpu().numpy(), self.labels, 0.5)
        best = logits.topk(min(BEST, len(self.labels)), -1).indices.tolist()
        return [Ranked([self.labels[i] for i in row]) for row in best]

    def metrics(self) -> dict[str, Metric]:
        """Top-1 and top-5 accuracy, their mean (Kinetics' challenge), macro F1; or GAP@20, Hit@1, PERR and mean average precision."""
        if self.several:
            gap, hit, perr = GlobalAveragePrecision(self.labels, 20), HitAtOne(self.labels), PrecisionAtRecall(self.labels)
            return {"GAP20": gap, "hit1": hit, "PERR": perr, "mAP": MeanAveragePrecision(self.labels)}
        return {"top1": Accuracy(), "top5": TopK(BEST), "top1_top5_mean": TopMean(), "macro_f1": MacroF1()}

    def answer(self, output: Output) -> Shaped[Tensor, " b"]:
        """The likeliest label's index."""
        return output["logits"].argmax(-1)

    def gold(self, examples: Sequence[Example]) -> Shaped[Tensor, " b"]:
        """The index of each example's `label`, else of the first of its `labels`.

        Raises:
            BadData: an example without labels, or with one that the model does not know.
        """
        return torch.tensor([self.index[name] for name in first_labels(examples, self.labels, "a clip's answer")])

    def score(self, output: Output, answer: Shaped[Tensor, " b"]) -> Float[Tensor, " b"]:
        """log p(label) in nats: of the softmax, or of the label's own sigmoid."""
        logits = output["logits"].float()
        log_probs = F.logsigmoid(logits) if self.several else logits.log_softmax(-1)
        return log_probs.gather(-1, answer[:, None])[:, 0]

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the authors' program, or of Paddle's, under our names."""
        return ours(tensors, list(self.widths))


def _sites(widths: Mapping[str, int], end_to_end: bool) -> dict[str, Site]:
    """`input`, the local features of the first modality, and each other modality by its name."""
    found = {}
    for i, name in enumerate(widths):
        along = (f"{name}_frames" if end_to_end else name, f"{name}_present")
        site = Site(f"local.{name}", "b n d", present=f"{name}_present", names=f"{name}_time", along=along, film=f"{name}_film")
        found[name if i else "input"] = site
    return found


def _fitting(example: Example, widths: Mapping[str, int]) -> Example:
    """The example, whose features are as wide as the model's; a modality that it lacks is absent.

    Raises:
        BadData: of other modalities or widths.
    """
    features: Mapping[str, Held | np.ndarray] = example["features"]
    strange = [name for name in features if name not in widths]
    if strange or not features:
        told = ", ".join(f"{name} of {width}" for name, width in widths.items())
        raise BadData(f"{example['id']}: features of {', '.join(strange) or 'nothing'}; the model has {told}")
    for name, held in features.items():
        if shape(held)[1] != widths[name]:
            raise BadData(f"{example['id']}: {name} features of {shape(held)[1]} numbers; the model has {widths[name]}")
    return example


# ---- building ---------------------------------------------------------------------------------------------------------


def network(settings: VideoSettings, widths: Mapping[str, int], num_classes: int, streams: Mapping[str, nn.Module]) -> VideoNetwork:
    """The network as the settings describe it; its backbones are frozen unless they learn, too.

    Raises:
        BadUsage: settings for a modality that there is not.
    """
    for name in settings.clusters:
        if name not in widths:
            raise BadUsage(f"task.clusters.{name}: no such modality; there are {', '.join(widths)}")
    for module in streams.values():
        module.requires_grad_(settings.end_to_end)
    clusters = {name: settings.clusters.get(name, settings.cluster) for name in widths}
    return VideoNetwork(streams, widths, clusters, num_classes, settings.head, settings.dropout)


def build(settings: VideoSettings, train: Sequence[Example]) -> Video:
    """The task as `settings` say; its labels, and the modalities of given features, from the training examples.

    Raises:
        BadData: clips without labels, or with one label alone.
        BadUsage: end to end on features.
    """
    first = str(train[0]["id"]) if train else "training set"
    several = settings.loss == "bce"
    require(train, ("labels",) if several else ("label",), first)
    told = train[0].get("classes") if several else None
    labels = list(told or sorted({str(x) for e in train for x in (e["labels"] if several else (e["label"],))}, key=natural))
    if len(labels) < 2:
        raise BadData(f"{first}: every label is {labels[0] if labels else None!r}; a classifier needs two or more")
    if "features" in train[0]:
        if settings.end_to_end:
            raise BadUsage(f"{first}: task.end_to_end is for clips; these are features")
        widths = _widths(train)
        return Video(network(settings, widths, len(labels), {}), labels, widths, replace(settings, streams={}))
    if not settings.streams:
        raise BadUsage(f"{first}: clips need a backbone that sees them: give task.streams, as --set task.streams.rgb.model=resnet18")
    streams = {name: stream(name, told) for name, told in settings.streams.items()}
    widths = {name: module.width for name, module in streams.items()}
    return Video(network(settings, widths, len(labels), streams), labels, widths, settings)


def _widths(train: Sequence[Example]) -> dict[str, int]:
    """Modalities of given features, in the order in which rows name them."""
    found: dict[str, int] = {}
    for example in train:
        for name, held in example["features"].items():
            found.setdefault(name, shape(held)[1])
    return found


def restore(settings: VideoSettings, folder: pathlib.Path) -> Video:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    labels, widths = read_labels(folder), json.loads((folder / WIDTHS).read_text(encoding="utf-8"))
    told = {name: one for name, one in settings.streams.items() if name in widths["made"]}
    streams = {name: stream(name, replace(one, pretrained="")) for name, one in told.items()}
    return Video(network(settings, widths["widths"], len(labels), streams), labels, widths["widths"], replace(settings, streams=told))


def write(task: Video, folder: pathlib.Path) -> None:
    """What the weights do not hold."""
    write_labels(task.labels, folder)
    checkpoint.write_json(folder / WIDTHS, {"widths": task.widths, "made": list(task.model.streams)})
