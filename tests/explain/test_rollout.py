"""Attention rollout: by hand, and as the product of matrices that the paper writes; and what one query looked at."""

import dataclasses

import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.explain.probe import Attention, ask
from pellucid.explain.rollout import attention_rollout, query_attention
from toys import Pictures, linear_probe, pictures


def looking(weights, read, present=None):
    """A probe of a model with the given attention."""
    probe = linear_probe(torch.ones(read.shape[1], 1), torch.ones(*read.shape, 1), present)
    return dataclasses.replace(probe, attention=lambda: Attention(weights, read))


def test_rollout_of_two_heads_by_hand():
    heads = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]])  # their mean: 0.5 0.5, 1 0
    found = attention_rollout(looking(heads[None, None], torch.tensor([[0.0, 1.0]])))
    assert found.relevance.tolist() == [[0.5, 0.5]]  # half past the layer, half to the first
    found = attention_rollout(looking(heads[None, None], torch.tensor([[1.0, 0.0]])), residual=0.2)
    assert found.relevance.tolist() == [[pytest.approx(0.2 + 0.8 * 0.5), pytest.approx(0.8 * 0.5)]]


def test_rollout_is_the_papers_product_of_layers():
    weights, read = torch.rand(3, 2, 4, 5, 5).softmax(-1), torch.rand(2, 5).softmax(-1)
    product = torch.eye(5).expand(2, 5, 5)
    for layer in weights.mean(2):
        product = (0.5 * layer + 0.5 * torch.eye(5)) @ product
    found = attention_rollout(looking(weights, read)).relevance
    torch.testing.assert_close(found, (read[:, None] @ product)[:, 0])
    torch.testing.assert_close(found.sum(1), torch.ones(2))


def test_rollout_gives_padding_nothing_and_does_not_hear_it():
    weights, read = torch.rand(2, 1, 2, 3, 3).softmax(-1), torch.rand(1, 3).softmax(-1)
    padded = torch.full((2, 1, 2, 4, 4), 0.25)
    padded[..., :3, :3], padded[..., :3, 3] = weights, 0.0
    found = attention_rollout(looking(padded, torch.nn.functional.pad(read, (0, 1)), torch.tensor([[True] * 3 + [False]])))
    torch.testing.assert_close(found.relevance[:, :3], attention_rollout(looking(weights, read)).relevance)
    assert found.relevance[0, 3] == 0


def test_a_model_without_attention_is_refused():
    task = Pictures()
    with pytest.raises(BadUsage, match="PictureNet does not offer its attention"):
        attention_rollout(ask(task, task.collate(pictures())))
    with pytest.raises(BadUsage, match="needs a model that offers its attention"):
        attention_rollout(linear_probe(torch.ones(1, 1), torch.ones(1, 1, 1)))


def test_attention_over_other_units_than_the_sites_is_refused():
    probe = dataclasses.replace(
        linear_probe(torch.ones(2, 1), torch.ones(1, 2, 1)), attention=lambda: Attention(torch.ones(1, 1, 1, 3, 3), torch.ones(1, 3))
    )
    with pytest.raises(BadUsage, match="attends over 3 units and this site has 2"):
        attention_rollout(probe)
    with pytest.raises(BadUsage, match="residual=2; it must lie in"):
        attention_rollout(probe, 2.0)


def test_what_a_query_looked_at_is_the_mean_over_heads_and_nothing_at_padding():
    heads = torch.tensor([[[0.5, 0.5, 0.0], [0.25, 0.5, 0.25]]])
    probe = linear_probe(torch.ones(3, 1), torch.ones(1, 3, 1), torch.tensor([[True, True, False]]))
    assert query_attention(dataclasses.replace(probe, looked=lambda: heads)).relevance.tolist() == [[0.375, 0.5, 0.0]]
    with pytest.raises(BadUsage, match="queries attend to 2 cells here and this site has 3 units"):
        query_attention(dataclasses.replace(probe, looked=lambda: heads[..., :2]))
    with pytest.raises(BadUsage, match="needs a model whose queries attend"):
        query_attention(probe)
