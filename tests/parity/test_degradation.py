"""Our deletion curves of the official heat maps against the official curves, on the official run's model."""

import dataclasses

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from pellucid.explain.degrade import on_scale
from pellucid.explain.deletion import deletions, points
from pellucid.explain.probe import ask
from pellucid.explain.remove import Removal

HEATMAP = "l4_b1e-05_heatmap"  # of the layer and the beta whose curves the reference holds


def question(official_model, official_run, chosen):
    """A probe of some of the sentences in one padded batch, and their heat maps."""
    task, (numbers, told) = official_model, official_run
    batch = task.collate([{"id": str(i), "text": told[i]["text"], "label": str(told[i]["target"])} for i in chosen])
    for i, row, present in zip(chosen, batch["tokens"], batch["tokens_present"], strict=True):
        assert row[present].tolist() == numbers[f"s{i}_ids"][0].tolist()
    probe = ask(task, batch, answer=batch["label"])
    maps = pad_sequence([torch.from_numpy(numbers[f"s{i}_{HEATMAP}"][0]) for i in chosen], True, 0.0)
    return on_scale(probe, task.score_unit), maps


def test_deletion_reproduces_the_official_curves(official_model, official_run):
    probe, maps = question(official_model, official_run, range(6))
    found = deletions(Removal(probe), {"map": maps})["map"]
    numbers = official_run[0]
    np.testing.assert_allclose(found.original, numbers["degr_orig"], atol=1e-5)
    np.testing.assert_allclose(found.most_first, numbers["degr_prob"], atol=1e-5)
    np.testing.assert_allclose(found.least_first, numbers["degr_prob_reverse"], atol=1e-5)


def test_a_sentence_has_its_curve_in_any_batch(official_model, official_run):
    found = []
    for chosen in ([2], [2, 5]):  # 14 wordpieces, alone and padded to 29
        probe, maps = question(official_model, official_run, chosen)
        found.append(deletions(Removal(dataclasses.replace(probe, rows=7)), {"map": maps})["map"])
    for name in ("original", "emptied", "most_first", "least_first", "area"):
        torch.testing.assert_close(getattr(found[0], name)[0], getattr(found[1], name)[0], rtol=0, atol=1e-5)


def test_points_are_those_of_the_official_rule():
    assert points(torch.tensor([16])).T.tolist() == [[2, 4, 5, 7, 9, 11, 12, 14, 16]]
    assert points(torch.tensor([4])).T.tolist() == [[1, 2, 3, 4, 4, 4, 4, 4, 4]]  # 4/9 rounds to 0, which is left out
