"""From an encoded text to the tokens of a target: the likeliest each time, or by beam search."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

State = Any  # tensors, rows first: what a net needs to go on writing


@runtime_checkable
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


@dataclass(frozen=True)
class Writing:
    """How a target is looked for, and what may stand in it.

    None of it changes a token's log-probability, which is the net's own.

    Args:
        length_penalty: power of the length by which the log-probability of a finished sequence is divided before it is compared.
        early: a beam search ends as soon as it has as many finished sequences as beams.
        banned: ids that are never written.
        first: the id that is always written first.
        last: the id that is written where the last place is reached.
        renormalise: a beam search shares what is banned among the rest.
    """

    beams: int = 1
    length_penalty: float = 1.0
    early: bool = False
    banned: tuple[int, ...] = ()
    first: int | None = None
    last: int | None = None
    renormalise: bool = False

    def allowed(self, values: Float[Tensor, "b v"], place: int, most: int) -> Float[Tensor, "b v"]:
        """The values at the ids that may be written at a place; -inf elsewhere, and 0 at one that must be."""
        must = self.first if place == 0 and self.first is not None else self.last if place == most - 1 else None
        if must is not None:
            only = torch.full_like(values, -torch.inf)
            only[:, must] = 0.0
            return only
        return values.index_fill(1, torch.tensor(self.banned, device=values.device), -torch.inf) if self.banned else values


GREEDY = Writing()
Written = tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"], Float[Tensor, "b t"]]  # tokens, which are real, log-probabilities

DROP = 0.75  # rows still being written, as a share of those carried along, at which the finished are dropped


@torch.no_grad()
def greedy(net: Net, state: State, num_rows: int, most: int, device: torch.device, how: Writing = GREEDY) -> Written:
    """The likeliest token each time, up to the end token or `most`; rows that have ended are dropped from the computation."""
    tokens = torch.full((num_rows, most), net.pad_id, device=device)
    log_probs = torch.zeros(num_rows, most, device=device)
    rows = torch.arange(num_rows, device=device)
    last = torch.full((num_rows,), net.start_id, device=device)
    open_ = torch.ones(num_rows, dtype=torch.bool, device=device)
    lengths = torch.full((num_rows,), most, device=device)
    for t in range(most):
        logits, state = net.step(state, last)
        logits = logits.float()
        last = how.allowed(logits, t, most).max(-1).indices  # on a CPU twice as fast as argmax
        best = logits.log_softmax(-1).gather(1, rearrange(last, "b -> b 1"))[:, 0]
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
    return _cropped(tokens, lengths, log_probs)


@torch.no_grad()
def beam(net: Net, state: State, num_rows: int, most: int, device: torch.device, how: Writing) -> Written:
    """The best sequence that a search with so many beams finishes; a text's search ends where it cannot get better.

    Source: the procedure of transformers' `generate`, whose tokens these are.
    """
    k, rows = how.beams, torch.arange(num_rows, device=device)
    found = _Finished(num_rows, most, k, net.pad_id, device)
    state = net.select(state, repeat(rows, "b -> (b k)", k=k))
    last = torch.full((num_rows * k,), net.start_id, device=device)
    totals = torch.full((num_rows, k), -torch.inf, device=device)
    totals[:, 0] = 0.0  # the beams begin alike: one stands for all
    said, log_probs = last.new_zeros(num_rows, k, 0), totals.new_zeros(num_rows, k, 0)
    for t in range(most):
        logits, state = net.step(state, last)
        plain = logits.float().log_softmax(-1)
        best, source, token, own = _candidates(plain, totals, t, most, how)
        ends = (token == net.end_id) | (t + 1 == most)
        said = torch.cat([_of_beam(said, source), rearrange(token, "b c -> b c 1")], -1)
        log_probs = torch.cat([_of_beam(log_probs, source), rearrange(own, "b c -> b c 1")], -1)
        score = (best / (t + 1) ** how.length_penalty).masked_fill(~ends, -torch.inf)[:, :k]
        found.add(rows, score, said, log_probs)
        totals, at = best.masked_fill(ends, -torch.inf).topk(k)
        kept = found.open(rows, totals[:, 0] / (t + 1) ** how.length_penalty, how.early).nonzero()[:, 0]
        if not len(kept):
            break
        where = k * rearrange(kept, "b -> b 1") + source.gather(1, at)[kept]
        state, rows, totals = net.select(state, rearrange(where, "b k -> (b k)")), rows[kept], totals[kept]
        said, log_probs = (_of_beam(history, at)[kept] for history in (said, log_probs))
        last = rearrange(said[..., -1], "b k -> (b k)")
    return _cropped(found.tokens, found.lengths, found.log_probs)


def _candidates(plain: Tensor, totals: Float[Tensor, "b k"], place: int, most: int, how: Writing) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twice as many continuations as beams, the best first: total, the beam that each goes on from, its token and that one's own value."""
    k = how.beams
    allowed = how.allowed(plain, place, most)
    allowed = allowed.log_softmax(-1) if how.renormalise else allowed
    every = rearrange(totals, "b k -> b k 1") + rearrange(allowed, "(b k) v -> b k v", k=k)
    best, at = rearrange(every, "b k v -> b (k v)").topk(2 * k)
    own = rearrange(plain, "(b k) v -> b (k v)", k=k).gather(1, at)
    return best, at // plain.shape[1], at % plain.shape[1], own


def _of_beam(history: Tensor, beams: Int[Tensor, "b c"]) -> Tensor:
    """What was written so far along each of the beams named."""
    return history.gather(1, repeat(beams, "b c -> b c t", t=history.shape[2]))


class _Finished:
    """The best finished sequence of each text, and the scores of the best few."""

    def __init__(self, num_rows: int, most: int, beams: int, pad_id: int, device: torch.device):
        self.scores = torch.full((num_rows, beams), -torch.inf, device=device)  # the best first
        self.tokens = torch.full((num_rows, most), pad_id, device=device)
        self.log_probs = torch.zeros(num_rows, most, device=device)
        self.lengths = torch.zeros(num_rows, dtype=torch.long, device=device)

    def add(
        self, rows: Int[Tensor, " r"], score: Float[Tensor, "r k"], said: Int[Tensor, "r c t"], log_probs: Float[Tensor, "r c t"]
    ) -> None:
        """Sequences that have ended just now; -inf where one has not."""
        best, at = score.max(1)
        better = (best > self.scores[rows, 0]).nonzero()[:, 0]
        mine, at, length = rows[better], at[better], said.shape[2]
        self.lengths[mine] = length
        self.tokens[mine, :length], self.log_probs[mine, :length] = said[better, at], log_probs[better, at]
        self.scores[rows] = torch.cat([self.scores[rows], score], 1).topk(score.shape[1])[0]

    def open(self, rows: Int[Tensor, " r"], hope: Float[Tensor, " r"], early: bool) -> Bool[Tensor, " r"]:
        """Where the best that is still being written beats the worst that is finished, or too few are."""
        worst = self.scores[rows, -1]
        return hope > (worst.masked_fill(worst > -torch.inf, torch.inf) if early else worst)


def _cropped(tokens: Int[Tensor, "b m"], lengths: Int[Tensor, " b"], log_probs: Float[Tensor, "b m"]) -> Written:
    longest = int(lengths.max()) if len(lengths) else 0
    present = torch.arange(longest, device=tokens.device) < rearrange(lengths, "b -> b 1")
    return tokens[:, :longest], present, log_probs[:, :longest]
