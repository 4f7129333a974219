"""A whole new task: which of six numbers matter? Trained, shifted and explained by the verbs like any other."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from pellucid.metrics.regression import RMSE
from pellucid.recipe import Data, Loop, Optim, Recipe
from pellucid.task import Site

COLUMNS = ("age", "height", "shoe", "income", "debt", "luck")


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, batch):
        return {"value": self.layers(batch["x"])[:, 0]}


class Credit:
    score_unit = "value"
    sites = {"input": Site("layers", "b (n d)", side="input", axes={"d": 1}, names="names")}

    def __init__(self, width):
        self.model = Net(width)

    def collate(self, examples):
        x = torch.tensor([[float(e[c]) for c in COLUMNS] for e in examples])
        batch = {"x": x, "names": [list(COLUMNS)] * len(examples)}
        return batch | ({"y": torch.tensor([float(e["label"]) for e in examples])} if "label" in examples[0] else {})

    def loss(self, output, batch):
        return {"squared": F.mse_loss(output["value"], batch["y"])}

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
    """Income less debt, and four columns that mean nothing; away, debts are larger."""
    home = Data("csv:examples/credit.csv", {"label": "credit"}, where={"town": "home"})
    away = Data("csv:examples/credit.csv", {"label": "credit"}, where={"town": "away"})
    parts = {part: Data(home.source, home.columns, home.where, part=part) for part in ("train", "dev", "test")}
    tests = {"home": parts["test"], "away": away}
    return Recipe(Settings(), parts["train"], parts["dev"], tests, optim=Optim(lr=0.01), loop=Loop(epochs=20))
