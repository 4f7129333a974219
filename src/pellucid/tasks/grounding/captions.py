"""Captions as tokens: which of them each object owns, and the encoders that read them."""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformers import AutoConfig, BertConfig

from pellucid.data import encoders
from pellucid.data.grounding.spans import checked, text_of, token_map
from pellucid.data.tokens import Encoded, Tokenizer, Words, load_pieces, load_tokenizer
from pellucid.errors import BadData, BadUsage
from pellucid.nn.language import encoder_of, load_config
from pellucid.task import Batch, Example
from pellucid.tasks.grounding.settings import GroundingSettings

WORDS = "words"  # the encoder that knows its training captions' words and nothing else
SMALL: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4}


class Reader(NamedTuple):
    """What turns captions into tokens, and what reads these."""

    tokenizer: Tokenizer
    encoder: nn.Module
    width: int


def reader(settings: GroundingSettings, captions: Sequence[str]) -> Reader:
    """The tokenizer and the text encoder that the settings name, with their weights.

    Args:
        captions: of the training set, whose words `words` learns where it is not told any.
    Raises:
        BadData: no such encoder, or weights missing.
        BadUsage: words are told to an encoder that has its own.
    """
    if settings.words and settings.text != WORDS:
        raise BadUsage(f"task.words: task.text={settings.text} has words of its own; leave task.words empty, or take task.text={WORDS}")
    if settings.text == WORDS:
        return _of_words(settings, Words.learn([" ".join(settings.words)] if settings.words else captions))
    place = str(encoders.encoder_folder(settings.text)) if settings.text in encoders.ENCODERS else settings.text
    config = load_config(place, None)
    return Reader(load_pieces(place), _encoder(config, settings, "" if settings.from_random else place), config.hidden_size)


def restored(settings: GroundingSettings, folder: pathlib.Path) -> Reader:
    """The same as `write` left it, without weights."""
    tokenizer = load_tokenizer(folder)
    if isinstance(tokenizer, Words):
        return _of_words(settings, tokenizer)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return Reader(tokenizer, _encoder(config, settings), config.hidden_size)


def _of_words(settings: GroundingSettings, words: Words) -> Reader:
    sizes: dict[str, Any] = {"hidden_size": settings.width, "intermediate_size": 2 * settings.width, "vocab_size": len(words.vocabulary)}
    config = BertConfig(**sizes, **SMALL, max_position_embeddings=settings.num_tokens + 1)
    return Reader(words, _encoder(config, settings), settings.width)


def _encoder(config: Any, settings: GroundingSettings, name: str = "") -> nn.Module:
    """The encoder of `encoder_of`, without a pooler that nothing reads; frozen where it does not learn.

    Raises:
        BadUsage: the contrast needs a pooler.
    """
    model = encoder_of(config, name, pooler=bool(settings.contrast))
    if settings.contrast and getattr(model, "pooler", None) is None:
        raise BadUsage(f"task.contrast={settings.contrast:g}: text encoder {settings.text!r} has no pooler; take another, or contrast=0")
    model.requires_grad_(not settings.freeze_text)
    return model


# ---- rows ---------------------------------------------------------------------------------------------------------------


def tokenised(examples: Sequence[Example], tokenizer: Tokenizer, settings: GroundingSettings) -> list[Example]:
    """The examples with `tokens`, their spans checked; objects without a label are called by their words.

    Raises:
        BadData: an empty caption, one of too many tokens, a span outside of its caption, or one that no token is of; with the row.
    """
    for example in examples:
        if not isinstance(example["caption"], str) or not example["caption"].strip():
            raise BadData(f"{example['id']}: the caption is empty; give the words that name what is looked for")
    found = tokenizer.encode([e["caption"] for e in examples], None, settings.num_tokens)
    return [_checked(e, tokens, settings) for e, tokens in zip(examples, found, strict=True)]


def _checked(example: Example, tokens: Encoded, settings: GroundingSettings) -> Example:
    caption, place = example["caption"], str(example["id"])  # a picture has many captions: only the row's name tells which
    if tokens.truncated and settings.long == "refuse":
        told = f"a caption of {len(caption.split())} words has more than {settings.num_tokens} tokens"
        raise BadData(f"{place}: {told}; shorten it, or train with task.long=cut")
    if "objects" not in example:
        return {**example, "tokens": tokens}
    rows = []
    for number, row in enumerate(example["objects"], 1):
        spans = checked(row.get("spans"), caption, f"{place}, object {number}")
        rows.append({"label": text_of(spans, caption), "area": _area(row["box_xyxy"]), **row, "spans": spans})
    lost = token_map([row["spans"] for row in rows], tokens.offsets.tolist()).lost
    if lost and not tokens.truncated:
        at, span = lost[0]
        raise BadData(f"{place}, object {at + 1}: no token is of the span {span}, {caption[span[0] : span[1]]!r}; name letters")
    return {**example, "tokens": tokens, "objects": rows}


def _area(box: Sequence[float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def caption_batch(examples: Sequence[Example]) -> Batch:
    """`tokens`, `tokens_present`, `word_of_token` (b t), and lists: `token_spans` (t 2), `caption` and `words`."""
    told: list[Encoded] = [e["tokens"] for e in examples]
    longest = max(len(one.tokens) for one in told)
    counts = torch.tensor([len(one.tokens) for one in told])
    return {
        "tokens": torch.stack([_filled(one.tokens, longest, 0) for one in told]),
        "tokens_present": torch.arange(longest) < counts[:, None],
        "word_of_token": torch.stack([_filled(one.word_of_token, longest, -1) for one in told]),
        "token_spans": [torch.from_numpy(one.offsets.astype(np.int64)) for one in told],
        "caption": [e["caption"] for e in examples],
        "words": [one.words(e["caption"], None) for one, e in zip(told, examples, strict=True)],
    }


def _filled(values: np.ndarray, longest: int, filling: int) -> Tensor:
    found = torch.full((longest,), filling, dtype=torch.long)
    found[: len(values)] = torch.from_numpy(values.astype(np.int64))
    return found


def own_tokens(spans: Sequence[Sequence[Sequence[int]]], offsets: Sequence[Sequence[int]], length: int) -> Bool[Tensor, "n {length}"]:
    """Which of the batch's tokens each object owns."""
    own = torch.zeros(len(spans), length, dtype=torch.bool)
    own[:, : len(offsets)] = torch.from_numpy(token_map(spans, offsets).own)
    return own
