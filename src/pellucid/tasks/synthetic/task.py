"""Points of a few columns, with classes or values: the task whose right explanations can be computed."""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid.errors import BadData
from pellucid.metrics.classification import Accuracy, MacroF1
from pellucid.metrics.regression import RMSE, Pearson
from pellucid.task import Batch, Example, Metric, Output, Site
from pellucid.tasks.synthetic.mixture import Mixture
from pellucid.tasks.synthetic.model import Exact, Network, Patches, Tokens, embedder
from pellucid.tasks.synthetic.settings import SyntheticSettings

MOST_VALUES = 2000  # tokens of one column


class Synthetic:
    """Examples hold `point`, a list of numbers, and `label`: a class from 0, or a number."""

    def __init__(self, model: nn.Module, columns: int, classes: int, settings: SyntheticSettings):
        self.model, self.columns, self.classes, self.settings = model, columns, classes, settings
        self.probability = bool(classes) and settings.score == "log-probability"
        self.score_unit = "log-probability" if self.probability else "value"
        self.embed: Any = model.embed
        axes = {"d": 1} if settings.embedding == "columns" else {"h": 1, "w": columns} if settings.embedding == "patches" else {}
        layout = str(self.embed.layout)
        self.sites: Mapping[str, Site] = {"input": Site("embed", layout, names="names", axes=axes)}
        if isinstance(self.embed, Tokens) and isinstance(model, Network):
            self.sites = {**self.sites, "encoder": Site("encoder", "b n d", names="names")}

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """The same rows, checked.

        Raises:
            BadData: a row has no point of the right length, or a label that is no class or number; with the row.
        """
        return [checked(e, source, self.columns, self.classes) for e in examples]

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`point` (b n), `names`, what the embedding reads, and `label` where the examples have one."""
        points = torch.tensor([e["point"] for e in examples], dtype=torch.float64 if self.settings.double else torch.float32)
        batch: Batch = {"point": points, "names": [[f"x{k}" for k in range(self.columns)] for _ in examples]}
        if isinstance(self.embed, Tokens):
            batch["tokens"] = self.embed.tokens(points)
        if isinstance(self.embed, Patches):
            batch["image"] = self.embed.image(points)
        if all("label" in e for e in examples):
            batch["label"] = torch.tensor([e["label"] for e in examples], dtype=torch.long if self.classes else torch.float32)
        return batch

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy in nats, or squared error."""
        if self.classes:
            return {"cross_entropy": F.cross_entropy(output["logits"], batch["label"])}
        return {"squared_error": F.mse_loss(output["value"].float(), batch["label"])}

    def predict(self, output: Output, batch: Batch) -> list[Any]:
        """Classes, or numbers."""
        return output["logits"].argmax(-1).tolist() if self.classes else output["value"].tolist()

    def metrics(self) -> dict[str, Metric]:
        """Accuracy and macro F1, or Pearson and root mean squared error."""
        return {"accuracy": Accuracy(), "macro_f1": MacroF1()} if self.classes else {"pearson": Pearson(), "rmse": RMSE()}

    def answer(self, output: Output) -> Int[Tensor, " b"]:
        """The likeliest class; 0 for a value."""
        return output["logits"].argmax(-1) if self.classes else torch.zeros_like(output["value"], dtype=torch.long)

    def gold(self, examples: Sequence[Example]) -> Int[Tensor, " b"]:
        """The answers that the labels name."""
        return torch.tensor([e["label"] if self.classes else 0 for e in examples], dtype=torch.long)

    def score(self, output: Output, answer: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The class's log-probability in nats or its probability, as the settings say; or the value."""
        if not self.classes:
            return output["value"]
        told = output["logits"].log_softmax(-1).gather(-1, answer[:, None])[:, 0]
        return told if self.probability else told.exp()


def checked(example: Example, source: str, columns: int, classes: int) -> Example:
    """The row, where it is one of this task.

    Raises:
        BadData: it is not.
    """
    where, point = f"{source}, row {example.get('id', '?')}", example.get("point")
    numbers = isinstance(point, (list, tuple)) and all(isinstance(v, (int, float)) and math.isfinite(v) for v in point)
    if not numbers or len(point or ()) != columns:
        raise BadData(f"{where}: point is {point!r}; expected {columns} finite numbers")
    label = example.get("label")
    if "label" in example and (not isinstance(label, (int, float)) or (classes and label not in range(classes))):
        raise BadData(f"{where}: label is {label!r}; expected {f'a class from 0 to {classes - 1}' if classes else 'a number'}")
    return example


# ---- building -----------------------------------------------------------------------------------------------------------


def build(settings: SyntheticSettings, train: Sequence[Example]) -> Synthetic:
    """The task as `settings` say; classes, centres and tokens from the training rows.

    Raises:
        BadData: no rows, rows without a point or label, or too many different values for tokens.
    """
    if not train or "point" not in train[0] or any("label" not in e for e in train):
        raise BadData("training rows need a point (a list of numbers) and a label; `functional:4_20/train` has such rows")
    classes = 1 + max(int(e["label"]) for e in train) if settings.target == "classes" else 0
    columns = len(train[0]["point"])
    rows = [checked(e, "training set", columns, classes) for e in train]
    values = [sorted({float(e["point"][k]) for e in rows}) for k in range(columns)] if settings.embedding == "tokens" else []
    if any(len(column) > MOST_VALUES for column in values):
        raise BadData(f"a column has more than {MOST_VALUES} values; for tokens train on functional:.../repeats")
    distinct = list({tuple(e["point"]): e for e in rows}.values())
    task = _assembled(settings, columns, classes, values, len(distinct))
    if settings.model == "exact":
        _centre(task, distinct)
    return task


def _assembled(settings: SyntheticSettings, columns: int, classes: int, values: Sequence[Sequence[float]], centres: int) -> Synthetic:
    kind = torch.float64 if settings.double else torch.float32
    embed = embedder(settings.embedding, values, settings.width)
    if settings.model == "network":
        model: nn.Module = Network(embed, columns, classes, settings.width)
    else:
        labels = torch.zeros(centres)
        model = Exact(embed, Mixture(torch.zeros(centres, columns), labels, classes, settings.std, dtype=kind))
    return Synthetic(model.to(kind), columns, classes, settings)


def _centre(task: Synthetic, rows: Sequence[Example]) -> None:
    """Puts the mixture's Gaussians at the points."""
    points = torch.tensor([e["point"] for e in rows], dtype=torch.float64)
    labels = torch.tensor([e["label"] for e in rows], dtype=torch.float64)
    made = Mixture(points, labels, task.classes, task.settings.std, dtype=task.model.mixture.centres.dtype)  # type: ignore[union-attr, arg-type]
    task.model.mixture.load_state_dict(made.state_dict())  # type: ignore[union-attr]


def write(task: Synthetic, folder: pathlib.Path) -> None:
    """What the weights do not hold."""
    folder.mkdir(parents=True, exist_ok=True)
    values = [[v for v in row if math.isfinite(v)] for row in task.embed.known.tolist()] if isinstance(task.embed, Tokens) else []
    centres = len(task.model.mixture.centres) if isinstance(task.model, Exact) else 0
    about = {"columns": task.columns, "classes": task.classes, "centres": centres, "values": values}
    (folder / "synthetic.json").write_text(json.dumps(about) + "\n")


def restore(settings: SyntheticSettings, folder: pathlib.Path) -> Synthetic:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    about = json.loads((folder / "synthetic.json").read_text())
    return _assembled(settings, about["columns"], about["classes"], about["values"], about["centres"])
