"""Parsing: a command or a sentence in, a formal expression out, written token by token."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer

from pellucid.data import seq2seq
from pellucid.data.read import require
from pellucid.errors import BadData, BadUsage
from pellucid.metrics.sequences import exact_match, exact_match_ids, token_accuracy
from pellucid.nn.language import blocks
from pellucid.task import Batch, Example, Metric, Output, Site
from pellucid.tasks.parsing import pretrained
from pellucid.tasks.parsing.data import ModelTokenizer, Rewritten, Tokenizer, Words, load_tokenizer, places, rewritten, seen
from pellucid.tasks.parsing.decode import Writing
from pellucid.tasks.parsing.model import Parser
from pellucid.tasks.parsing.pretrained import Pretrained
from pellucid.tasks.parsing.recurrent import Recurrent
from pellucid.tasks.parsing.settings import OWN, ParsingSettings


class Parsing:
    """A text to a target, a string of words parted by single blanks.

    Examples hold `text` and, but for those that are only asked about, `label`: the target; perhaps `category` and `depth`.
    A prediction is a dict: `text`, the `tokens` made (the end token last, if it was made) and `answers`, each word as WORD@PLACE.
    What is explained is a span of the output; it takes examples that hold that output (`force`).
    """

    score_unit = "log-probability"

    def __init__(self, model: Parser, tokenizer: Tokenizer, settings: ParsingSettings):
        self.model, self.tokenizer, self.settings = model, tokenizer, settings
        self.sites = sites_of(model)

    # ---- data --------------------------------------------------------------------------------------------------------

    def prepare(self, examples: Sequence[Example], source: str) -> list[Example]:
        """Tokens of texts and targets, once per example.

        Raises:
            BadData: a text or a target is missing, empty or too long; with the row.
        """
        labelled = any("label" in e for e in examples)
        require(examples, ("text", "label") if labelled else ("text",), source)
        for example in examples:
            for role in ("text", "label") if labelled else ("text",):
                if not isinstance(example[role], str) or not example[role].strip():
                    raise BadData(f"{_where(example, source)}: its {_ROLES[role]} is {example[role]!r}; expected words")
        read = self.tokenizer.read([self.settings.prefix + e["text"] for e in examples], self.settings.max_source)
        rows = [{**e, "tokens": t, "length": len(t.tokens), "truncated": t.truncated} for e, t in zip(examples, read, strict=True)]
        return self._with_targets(rows, source) if labelled else rows

    def _with_targets(self, rows: list[Example], source: str) -> list[Example]:
        try:
            targets = self.tokenizer.write([row["label"] for row in rows])
        except BadData as error:
            raise BadData(f"{source}: {error}") from None
        most = self.settings.max_target
        for row, ids in zip(rows, targets, strict=True):
            if len(ids) > most:
                told = f"its target is {len(ids)} tokens long, task.max_target={most}"
                raise BadData(f"{_where(row, source)}: {told}; raise that, unless the model has no more places, or leave the row out")
        unknown = self.tokenizer.unknown_id
        return [
            {**row, "target": ids, "length": row["length"] + len(ids), "unknown": bool((ids == unknown).any())}
            for row, ids in zip(rows, targets, strict=True)
        ]

    def collate(self, examples: Sequence[Example]) -> Batch:
        """`tokens`, `tokens_present`, `word_of_token` (b n), `words`; `said` and `said_present` (b t) where the examples have `said`."""
        if "tokens" not in examples[0]:
            examples = self.prepare(examples, "examples")
        encoded, prefix = [e["tokens"] for e in examples], self.settings.prefix
        tokens = _pad([e.tokens for e in encoded], -1)
        batch = {
            "tokens": tokens.where(tokens >= 0, self.tokenizer.pad_id),
            "tokens_present": tokens >= 0,
            "word_of_token": _pad([e.word_of_token for e in encoded], -1),
            "words": [t.words(prefix + e["text"], None) for e, t in zip(examples, encoded, strict=True)],
        }
        return batch | _said([e["said"] for e in examples], self.tokenizer.pad_id) if "said" in examples[0] else batch

    def train_batch(self, examples: Sequence[Example], seeds: Sequence[int]) -> Batch:
        """The batch with the targets as what is said."""
        del seeds  # nothing is random
        if "target" not in examples[0]:
            examples = self.prepare(examples, "examples")
        return self.collate(examples) | _said([e["target"] for e in examples], self.tokenizer.pad_id)

    # ---- the promises ------------------------------------------------------------------------------------------------

    def loss(self, output: Output, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Cross-entropy of the tokens, end included, in nats, averaged over all of the batch."""
        return {"cross_entropy": -output["token_log_probs"].sum() / output["tokens_present"].sum().clamp_min(1)}

    def amounts(self, batch: Batch) -> dict[str, float]:
        """The tokens that the loss is a mean over."""
        return {"cross_entropy": float(batch["said_present"].sum())}

    def predict(self, output: Output, batch: Batch) -> list[dict[str, Any]]:
        """What was written."""
        rows = zip(output["tokens"].tolist(), output["tokens_present"].sum(1).tolist(), strict=True)
        return [self._prediction(ids[:length]) for ids, length in rows]

    def prediction(self, text: str) -> dict[str, Any]:
        """A string, as another program wrote it, as one of our predictions."""
        return {**self._prediction(self.tokenizer.write([text])[0].tolist()), "text": " ".join(text.split())}

    def _prediction(self, ids: list[int]) -> dict[str, Any]:
        text = self.tokenizer.decode(ids)
        return {"text": text, "tokens": ids, "answers": [f"{word}@{i + 1}" for i, word in enumerate(text.split())]}

    def metrics(self) -> dict[str, Metric]:
        """Exact match of the string and of the tokens, and the share of right tokens."""
        return {"exact_match": exact_match(), "exact_match_ids": exact_match_ids(), "token_accuracy": token_accuracy()}

    def force(self, examples: Sequence[Example], predictions: Sequence[Mapping[str, Any]]) -> list[Example]:
        """The examples, each with a prediction as what it says."""
        told = zip(examples, predictions, strict=True)
        return [{**e, "said": np.asarray(p["tokens"], np.int32)} for e, p in told]

    def answer(self, output: Output) -> Int[Tensor, "b 2"]:
        """The span of the whole output."""
        length = output["tokens_present"].sum(1)
        return torch.stack([torch.zeros_like(length), length], 1)

    def gold(self, examples: Sequence[Example]) -> Int[Tensor, "b 2"]:
        """The spans that the examples' labels name in what they say: all of it, or a word as WORD@PLACE, places from 1.

        Raises:
            BadData: what is said has no such word there.
        """
        require(examples, ("label", "said"), "explaining an answer")
        return torch.tensor([self._span(str(e["label"]), e["said"].tolist()) for e in examples]).reshape(-1, 2)

    def _span(self, label: str, said: list[int]) -> list[int]:
        text = self.tokenizer.decode(said)
        words = text.split()
        word, _, place = label.rpartition("@")
        if place.isdecimal() and 0 < int(place) <= len(words) and words[int(place) - 1] == word:
            at = [i for i, w in enumerate(places(self.tokenizer, said)) if w == int(place) - 1]
            return [at[0], at[-1] + 1] if at else [0, 0]
        if " ".join(label.split()) == text:
            return [0, len(said)]
        known = ", ".join(f"{w}@{i + 1}" for i, w in enumerate(words[:6]))
        raise BadData(f"answer {label!r}: not a word of what is written; there are {known}{' ...' if len(words) > 6 else ''}")

    def score(self, output: Output, answer: Shaped[Tensor, "b 2"]) -> Float[Tensor, " b"]:
        """log p of the span, given what comes before it, in nats."""
        place = torch.arange(output["token_log_probs"].shape[1], device=answer.device)
        inside = (place >= answer[:, :1]) & (place < answer[:, 1:])
        return (output["token_log_probs"].float() * inside).sum(1)


_ROLES = {"text": "source", "label": "target"}


def _where(example: Example, source: str) -> str:
    return str(example.get("id") or source)


def _pad(rows: Sequence[Any], fill: int) -> Shaped[Tensor, "b n"]:
    return pad_sequence([torch.from_numpy(np.asarray(row)).long() for row in rows], batch_first=True, padding_value=fill)


def _said(rows: Sequence[Any], pad_id: int) -> Batch:
    said = _pad(rows, -1)
    return {"said": said.where(said >= 0, pad_id), "said_present": said >= 0}


# ---- sites ------------------------------------------------------------------------------------------------------------


def sites_of(model: Parser) -> Mapping[str, Site]:
    """`input` (word vectors), `embedding` and `layer.k` of a pretrained encoder, and `memory`, all that the decoder is told."""
    net = model.net
    found: dict[str, tuple[str, str]] = {}
    if isinstance(net, Pretrained):
        layers = _layers(net)
        table = net.inner.get_encoder().get_input_embeddings()  # type: ignore[operator]
        alone = table is not net.inner.get_decoder().get_input_embeddings()  # type: ignore[operator]
        first = (layers[0], "input")
        found = {"input": (_name(model, table), "output") if alone else first, "embedding": first}
        found |= {f"layer.{k}": (name, "output") for k, name in enumerate(layers)}
    else:
        found = {"input": ("net.source_embedding", "output")}
    found["memory"] = ("net.memory", "output")
    along = ("tokens", "tokens_present", "word_of_token")
    return {
        name: Site(module, "b n d", side=side, present="tokens_present", names="words", groups="word_of_token", along=along)
        for name, (module, side) in found.items()
    }


def _layers(net: Pretrained) -> list[str]:
    config: Any = net.inner.config
    count = getattr(config, "encoder_layers", None) or config.num_hidden_layers
    return [f"net.{name}" for name in blocks(net, net.inner.get_encoder(), count)]  # type: ignore[operator]


def _name(model: nn.Module, wanted: nn.Module) -> str:
    """The longest name of a module: the encoder's own, where it is also the model's."""
    return max((name for name, m in model.named_modules(remove_duplicate=False) if m is wanted), key=len)


# ---- building ---------------------------------------------------------------------------------------------------------


def build(settings: ParsingSettings, train: Sequence[Example]) -> Parsing:
    """The task as `settings` say, its vocabulary from the training examples."""
    require(train, ("text", "label"), str(train[0]["id"]) if train else "training set")
    texts, targets = [settings.prefix + e["text"] for e in train], [rewritten(e["label"], settings.rewrite) for e in train]
    if settings.model in OWN:
        words = Words.learn([*texts, *targets])
        return _assembled(settings, words, _own(settings, words))
    place = str(seq2seq.seq2seq_folder(settings.model)) if settings.model in seq2seq.SEQ2SEQ else settings.model
    config = pretrained.configuration(place, settings.dropout)
    if settings.tokenizer == "words":
        tokenizer: Words | ModelTokenizer = Words.learn([*texts, *targets])
    else:
        tokenizer = load_model_tokenizer(settings.tokenizer or place, config, own=not settings.tokenizer)
    inner = _sized(settings, place, config, tokenizer)
    if settings.trim and isinstance(tokenizer, ModelTokenizer):
        kept = seen(tokenizer, texts, targets)
        pretrained.keep_pieces(inner, kept.tolist())
        tokenizer = ModelTokenizer(tokenizer.inner, tokenizer.first, kept)
    return _assembled(settings, tokenizer, inner)


def _sized(settings: ParsingSettings, place: str, config: Any, tokenizer: Words | ModelTokenizer) -> Any:
    """The model at a place, with a row for each piece of the tokenizer."""
    pieces = len(tokenizer.vocabulary) if isinstance(tokenizer, Words) else len(tokenizer.inner)
    ids = {"pad_token_id": tokenizer.pad_id, "eos_token_id": tokenizer.end_id, "decoder_start_token_id": tokenizer.start_id}
    size = pieces if isinstance(tokenizer, Words) else max(pieces, config.vocab_size)
    anew = bool(settings.tokenizer) and settings.from_random
    if anew:
        pretrained.tell(config, size, ids)
    inner: Any = pretrained.load(place, config, settings.from_random)
    if anew:
        pretrained.forget_rules(inner, ids)
    if settings.fresh_embeddings:
        pretrained.start_afresh(inner, size, ids)
    elif not settings.from_random and (isinstance(tokenizer, Words) or pieces > config.vocab_size):
        told = f"task.tokenizer={settings.tokenizer}: model {settings.model!r} has not learned its {pieces} pieces"
        raise BadUsage(f"{told}; set task.fresh_embeddings=true, or task.from_random=true")
    return inner


def _assembled(settings: ParsingSettings, tokenizer: Tokenizer, inner: Any) -> Parsing:
    told = Rewritten(tokenizer, settings.rewrite) if settings.rewrite else tokenizer
    if isinstance(inner, Recurrent):
        return Parsing(Parser(inner, settings.max_target, Writing(settings.beams or 1)), told, settings)
    if most := pretrained.positions(inner):
        settings = replace(settings, max_source=min(settings.max_source, most), max_target=min(settings.max_target, most))
    net = Pretrained(inner, tokenizer.start_id, tokenizer.end_id, tokenizer.pad_id)
    return Parsing(Parser(net, settings.max_target, pretrained.writing(inner, settings.beams)), told, settings)


def _own(settings: ParsingSettings, words: Words) -> Any:
    size, dropout = len(words.vocabulary), settings.dropout or 0.0
    if settings.model == "recurrent":
        return Recurrent(size, size, settings.width, settings.layers, dropout, words.start_id, words.end_id, words.pad_id)
    return pretrained.small(size, settings.width, settings.layers, dropout, words.pad_id, words.end_id, words.start_id)


def load_model_tokenizer(place: str, config: Any, own: bool = True) -> ModelTokenizer:
    """The tokenizer of a folder or hub name, for a model of that configuration.

    Args:
        own: it is the model's, and not another's.
    Raises:
        BadData: there is none, or it has no token that ends or pads.
    """
    try:
        inner = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except ImportError as error:
        hint = "; pip install 'pellucid[marian]'" if "sentencepiece" in str(error).lower() else ""
        raise BadData(f"tokenizer {place!r}: {str(error).strip().splitlines()[0]}{hint}") from None
    except (OSError, ValueError) as error:
        raise BadData(f"tokenizer {place!r}: {str(error).strip().splitlines()[0]}") from None
    if len(inner.get_vocab()) - len(inner.all_special_tokens) < 2:  # transformers 5 makes one up where there is no file
        raise BadData(f"tokenizer {place!r} has no pieces; another model's, or `words`, may be named by task.tokenizer")
    if inner.eos_token_id is None or inner.pad_token_id is None:
        raise BadData(f"tokenizer {place!r} has no token that {'ends' if inner.eos_token_id is None else 'pads'} a text; a parser needs it")
    return ModelTokenizer(inner, _start(inner, config, own))


def _start(inner: Any, config: Any, own: bool) -> int:
    """The id that the decoder begins with; in another model's tokenizer the one of the same role."""
    start = config.decoder_start_token_id
    roles = {
        config.pad_token_id: inner.pad_token_id,
        config.eos_token_id: inner.eos_token_id,
        getattr(config, "bos_token_id", None): inner.bos_token_id,
    }
    if start is not None:
        return int(start if own else roles.get(start, inner.pad_token_id))
    language = getattr(inner, "tgt_lang", None) or getattr(inner, "src_lang", None)  # mBART begins with the one that it writes
    return int(inner.convert_tokens_to_ids(language) if language else config.bos_token_id)


def restore(settings: ParsingSettings, folder: pathlib.Path) -> Parsing:
    """The task that a run's `preprocessing` folder describes; weights come after."""
    tokenizer = load_tokenizer(folder)
    if settings.model in OWN:
        assert isinstance(tokenizer, Words)
        return _assembled(settings, tokenizer, _own(settings, tokenizer))
    return _assembled(settings, tokenizer, pretrained.read_config(folder, settings.dropout))


def write(task: Parsing, folder: pathlib.Path) -> None:
    """What the weights do not hold."""
    folder.mkdir(parents=True, exist_ok=True)
    task.tokenizer.save(folder)
    if isinstance(task.model.net, Pretrained) and task.settings.model not in OWN:
        pretrained.write_config(task.model.net.inner, folder)
