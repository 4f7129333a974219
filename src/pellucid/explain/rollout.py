"""Attention followed through all layers, or read at one query, for models that offer theirs."""

import torch
from einops import einsum, reduce
from jaxtyping import Float
from torch import Tensor

from pellucid.errors import BadUsage
from pellucid.explain.attribution import Attribution
from pellucid.explain.probe import Probe


def attention_rollout(probe: Probe, residual: float = 0.5) -> Attribution:
    """Share of each unit in what the head reads, were every layer nothing but its attention and its skip connection.

    It starts at the model's first layer wherever the probe's site is, is never negative, and sums to 1 over real units; it is
    the same for every answer, which the score is never asked about.

    Args:
        residual: share of a unit that the skip connection carries past a layer, 0..1.
    Raises:
        BadUsage: the model offers no attention, or attends over other units than the site's.
    Source: Abnar and Zuidema 2020.
    """
    if not 0 <= residual <= 1:
        raise BadUsage(f"residual={residual:g}; it must lie in 0..1")
    if probe.attention is None:
        raise BadUsage("attention_rollout needs a model that offers its attention; choose another method")
    found = probe.attention()
    if found.read.shape != probe.present.shape:
        raise BadUsage(f"the model attends over {found.read.shape[1]} units and this site has {probe.present.shape[1]}; name another site")
    share = roll(reduce(found.weights, "l b h n m -> l b n m", "mean"), found.read, residual)
    return Attribution(share.masked_fill(~probe.present, 0.0), note="all layers; the same for every answer")


def roll(weights: Float[Tensor, "l b n m"], read: Float[Tensor, "b n"], residual: float) -> Float[Tensor, "b n"]:
    """What is read, carried back layer by layer from the last to the first: a vector, so that no product of matrices is taken."""
    for layer in torch.flip(weights, [0]):
        read = residual * read + (1 - residual) * einsum(read, layer, "b n, b n m -> b m")
    return read


def query_attention(probe: Probe) -> Attribution:
    """Where the answer's query looked in the last decoder layer, a mean over heads; never negative, sums to 1 over all it looks at.

    It is read, not tested: nothing promises that the answer rests on it, and it is the same for every class of a query. The checks
    that every other map is held to say how far it does.

    Raises:
        BadUsage: the model has no queries that attend, or they attend to other units than the site's.
    """
    if probe.looked is None:
        raise BadUsage("query_attention needs a model whose queries attend to a picture; choose another method")
    share = reduce(probe.looked(), "b m n -> b n", "mean")
    if share.shape != probe.present.shape:
        raise BadUsage(
            f"queries attend to {share.shape[1]} cells here and this site has {probe.present.shape[1]} units; name another site, as encoder"
        )
    return Attribution(share.masked_fill(~probe.present, 0.0), note="attention as it is; not tied to the score, the same for every class")
