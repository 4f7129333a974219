"""A whole new task: which of six numbers decide a credit score? Trained, shifted and explained by the verbs like any other."""

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F

from pellucid.metrics.regression import RMSE
from pellucid.recipe import Data, Loop, Optim, Recipe
from pellucid.task import Site

COLUMNS = ["age", "height", "shoe", "income", "debt", "luck"]


class Net(nn.Sequential):
    def forward(self, batch):
        return {"value": super().forward(batch["columns"])[:, 0]}


class Credit:
    score_unit = "value"
    sites = {"input": Site("0", "b (n d)", side="input", axes={"d": 1}, names="names")}

    def __init__(self, width):
        self.model = Net(nn.Linear(6, width), nn.GELU(), nn.Linear(width, 1))

    def collate(self, examples):
        columns = torch.tensor([[float(e[c]) for c in COLUMNS] for e in examples])
        labels = torch.tensor([float(e.get("label", "nan")) for e in examples])
        return {"columns": columns, "label": labels, "names": [COLUMNS] * len(examples)}

    def loss(self, output, batch):
        return {"squared": F.mse_loss(output["value"], batch["label"])}

    def predict(self, output, batch):
        return output["value"].tolist()

    def metrics(self):
        return {"rmse": RMSE()}

    def answer(self, output):
        return torch.zeros_like(output["value"], dtype=torch.long)

    def score(self, output, answer):
        return output["value"]


@dataclass(frozen=True)
class Settings:
    width: int = 32

    def build(self, train):
        return Credit(self.width)


def recipe() -> Recipe:
    """Twice the income less the debt; away, debts are larger."""
    home = Data("csv:examples/credit.csv", {"label": "credit"}, where={"town": "home"})
    tests = {"home": replace(home, part="test"), "away": replace(home, where={"town": "away"})}
    train, dev = replace(home, part="train"), replace(home, part="dev")
    return Recipe(Settings(), train, dev, tests, optim=Optim(lr=0.01), loop=Loop(epochs=20))
