"""From an encoded text to the tokens of a target: the likeliest each time, or by beam search."""

from typing import Any, Protocol

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

State = Any  # tensors, rows first: what a net needs to go on writing


class Net(Protocol):
    """An encoder-decoder that writes token by token."""

    start_id: int
    end_id: int
    pad_id: int

    def encode(self, tokens: Int[Tensor, "b n"], present: Bool[Tensor, "b n"]) -> State:
        """Runs the encoder once."""

    def forced(self, state: State, said: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        """Logits of each token of `said` given those before it, in one pass."""

    def step(self, state: State, tokens: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b v"], State]:
        """Logits of what follows `tokens`, the first of which is the start."""

    def select(self, state: State, rows: Int[Tensor, " r"]) -> State:
        """The state of these rows."""


Written = tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"], Float[Tensor, "b t"]]  # tokens, which are real, log-probabilities

DROP = 0.75  # rows still being written, as a share of those carried along, at which the finished are dropped


@torch.no_grad()
def greedy(net: Net, state: State, num_rows: int, most: int, device: torch.device) -> Written:
    """The likeliest token each time, up to the end token or `most`; rows that have ended are dropped from the computation."""
    tokens = torch.full((num_rows, most), net.pad_id, device=device)
    log_probs = torch.zeros(num_rows, most, device=device)
    rows = torch.arange(num_rows, device=device)
    last = torch.full((num_rows,), net.start_id, device=device)
    open_ = torch.ones(num_rows, dtype=torch.bool, device=device)
    lengths = torch.full((num_rows,), most, device=device)
    for t in range(most):
        logits, state = net.step(state, last)
        best, last = logits.float().log_softmax(-1).max(-1)
        at = rows[open_]
        tokens[at, t], log_probs[at, t] = last[open_], best[open_]
        ended = open_ & (last == net.end_id)
        lengths[rows[ended]] = t + 1
        open_ = open_ & ~ended
        left = int(open_.sum())
        if not left:
            break
        if left <= DROP * len(rows):
            kept = open_.nonzero()[:, 0]
            state, rows, last = net.select(state, kept), rows[kept], last[kept]
            open_ = torch.ones(left, dtype=torch.bool, device=device)
    longest = int(lengths.max()) if num_rows else 0
    present = torch.arange(longest, device=device) < rearrange(lengths, "b -> b 1")
    return tokens[:, :longest], present, log_probs[:, :longest]
