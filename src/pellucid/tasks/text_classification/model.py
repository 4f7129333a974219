"""A pretrained encoder with a linear head, and the paper's four baselines."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from pellucid.nn.language import encoder_of, load_config
from pellucid.task import Batch, Output


def mean_present(x: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"]) -> Float[Tensor, "b d"]:
    """Mean over real units."""
    weight = rearrange(present, "b n -> b n 1").to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1).clamp_min(1)


def answer_of(x: Float[Tensor, "b c"], value: bool) -> Output:
    """The head's numbers under their standard key."""
    return {"value": x[:, 0]} if value else {"logits": x}


# ---- pretrained -------------------------------------------------------------------------------------------------------


class Encoder(nn.Module):
    """Any transformers encoder, pooled and read by one linear layer."""

    def __init__(self, encoder: nn.Module, num_outputs: int, value: bool, pooling: str, dropout: float):
        super().__init__()
        self.encoder, self.value, self.pooling = encoder, value, pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, num_outputs)  # type: ignore[union-attr, arg-type]
        self.segments = getattr(encoder.config, "type_vocab_size", 0) > 1

    def features(self, batch: Batch) -> Float[Tensor, "b d"]:
        """One vector per example."""
        return self._pooled(self._encoded(batch)[0], batch)

    def forward(self, batch: Batch) -> Output:
        """`logits` (b c) or `value` (b); where the batch holds `with_attention` also what the layers attended to."""
        if not batch.get("with_attention"):
            return answer_of(self.head(self.dropout(self.features(batch))), self.value)
        with _plain_attention(self.encoder):
            found = self._encoded(batch, output_attentions=True)
        output = answer_of(self.head(self.dropout(self._pooled(found[0], batch))), self.value)
        return output | _attended(found, self._read(batch))

    def _encoded(self, batch: Batch, **more: Any) -> Any:
        kinds = {"token_type_ids": batch["segments"]} if self.segments else {}
        return self.encoder(input_ids=batch["tokens"], attention_mask=batch["tokens_present"].long(), **kinds, **more)

    def _pooled(self, hidden: Float[Tensor, "b n d"], batch: Batch) -> Float[Tensor, "b d"]:
        return hidden[:, 0] if self.pooling == "first" else mean_present(hidden, batch["tokens_present"])

    def _read(self, batch: Batch) -> Float[Tensor, "b n"]:
        """Share of each token in the pooled vector."""
        present = batch["tokens_present"].float()
        if self.pooling == "first":
            return torch.zeros_like(present).index_fill(1, torch.tensor([0], device=present.device), 1.0)
        return present / present.sum(1, keepdim=True).clamp_min(1)

    def save_config(self, folder: pathlib.Path) -> None:
        """The architecture, in the layout of transformers."""
        self.encoder.config.save_pretrained(folder)  # type: ignore[union-attr, operator]


@contextlib.contextmanager
def _plain_attention(encoder: nn.Module) -> Iterator[None]:
    """Within the block attention is computed step by step, so that its weights can be had."""
    config: Any = encoder.config
    before = config._attn_implementation
    encoder.set_attn_implementation("eager")  # type: ignore[operator]
    try:
        yield
    finally:
        encoder.set_attn_implementation(before)  # type: ignore[operator]


def _attended(found: Any, read: Float[Tensor, "b n"]) -> Output:
    """The layers' attention under its standard keys; nothing for an encoder that does not give it."""
    weights = getattr(found, "attentions", None)
    if not weights or any(w is None for w in weights):
        return {}
    return {"attention": torch.stack(weights), "attention_read": read}


def load_encoder(name: str, dropout: float, from_random: bool) -> nn.Module:
    """An encoder by folder or hub name, from safetensors alone, without its pooler.

    Raises:
        BadData: no such model, weights missing, or keys of the encoder that the file does not have.
    """
    return encoder_of(load_config(name, dropout), "" if from_random else name)


# ---- baselines --------------------------------------------------------------------------------------------------------


class Baseline(nn.Module):
    """Word vectors, an encoder of each text, and a linear head.

    Two texts: a value is `scale` times the cosine of their codes (the paper's Siamese form); classes read both codes, their
    distance and product.
    """

    def __init__(self, kind: str, words: int, num_outputs: int, value: bool, pairs: bool, scale: float, official_sum: bool = False):
        super().__init__()
        width = 300
        self.kind, self.value, self.pairs, self.scale, self.official_sum = kind, value, pairs, scale, official_sum
        self.embedding = nn.Embedding(words, width)
        if kind == "bow":
            nn.init.uniform_(self.embedding.weight, -(words**-0.5), words**-0.5)  # a linear layer over counts, row by row
            self.bias = nn.Parameter(torch.zeros(width))
        self.lstm = nn.LSTM(width, 512, 2, batch_first=True) if kind == "lstm" else None
        self.convolutions = nn.ModuleList(nn.Conv1d(width, 512, n) for n in (2, 3, 4, 5)) if kind == "convnet" else None
        coded = {"bow": width, "average": width, "lstm": 512, "convnet": 4 * 512}[kind]
        self.cosine = pairs and value
        self.head = None if self.cosine else nn.Linear(coded * (4 if pairs else 1), num_outputs)

    def encode(self, x: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"]) -> Float[Tensor, "b e"]:
        """One text's code."""
        x = x * rearrange(present, "b n -> b n 1")
        if self.kind == "bow":
            return x.sum(1) + self.bias
        if self.lstm is not None:
            lengths = present.sum(1).clamp_min(1).cpu()
            return self.lstm(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[1][0][-1]
        if self.convolutions is not None:
            return torch.cat([_windows(x, present, c) for c in self.convolutions], -1)  # type: ignore[arg-type]
        return x.sum(1) if self.official_sum else mean_present(x, present)

    def features(self, batch: Batch) -> Float[Tensor, "b e"]:
        """One vector per example; two texts give both codes, their distance and product."""
        a, b = self._codes(batch)
        return a if b is None else torch.cat([a, b, (a - b).abs(), a * b], -1)

    def _codes(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        x, present, second = self.embedding(batch["tokens"]), batch["tokens_present"], batch["segments"] == 1
        if not self.pairs:
            return self.encode(x, present), None
        # the second text moves to the front of its row, so that padding stays behind
        order = (~(present & second)).long().argsort(dim=1, stable=True)
        moved = x.gather(1, repeat(order, "b n -> b n d", d=x.shape[-1]))
        return self.encode(x, present & ~second), self.encode(moved, (present & second).gather(1, order))

    def forward(self, batch: Batch) -> Output:
        """`logits` (b c) or `value` (b)."""
        if self.head is None:
            a, b = self._codes(batch)
            assert b is not None
            return {"value": self.scale * F.cosine_similarity(a, b)}
        return answer_of(self.head(self.features(batch)), self.value)

    def save_config(self, folder: pathlib.Path) -> None:
        """Nothing: settings and vocabulary say it all."""


def _windows(x: Float[Tensor, "b n d"], present: Bool[Tensor, "b n"], convolution: nn.Conv1d) -> Float[Tensor, "b f"]:
    """Maximum over the windows that begin inside the text; a text shorter than a window has one."""
    width = convolution.kernel_size[0]
    padded = F.pad(rearrange(x, "b n d -> b d n"), (0, max(0, width - x.shape[1])))
    found = convolution(padded).relu()  # b f t
    last = (present.sum(1) - width).clamp_min(0)
    inside = torch.arange(found.shape[-1], device=x.device) <= rearrange(last, "b -> b 1")
    return reduce(found.masked_fill(~rearrange(inside, "b t -> b 1 t"), 0.0), "b f t -> b f", "max")  # relu: 0 never wins
