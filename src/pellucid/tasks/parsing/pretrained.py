"""Any encoder-decoder of transformers as a net that writes token by token."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, Cache, DynamicCache, EncoderDecoderCache, GenerationConfig, T5Config
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from pellucid.errors import BadData, BadUsage
from pellucid.nn.language import load_config, load_weights, unheard
from pellucid.tasks.parsing.decode import Writing

State = dict[str, Any]
SPECIAL = ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_eos_token_id", "forced_bos_token_id")
SEARCH = ("num_beams", "length_penalty", "early_stopping")


class Growing(DynamicLayer):
    """Keys and values of a layer, in a room that doubles when it is full: transformers' own copies all of them at every token."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """Writes behind what is there; gives all."""
        new, done = torch.stack([key_states, value_states]), self.get_seq_length()
        length = done + new.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.room = new[..., :0, :]
        if length > self.room.shape[-2]:
            old, self.room = self.room, new.new_empty(*new.shape[:-2], max(16, 2 * length), new.shape[-1])
            self.room[..., :done, :] = old[..., :done, :]
        self.room[..., done:length, :] = new
        self.keys, self.values = self.room[..., :length, :]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows, which may repeat."""
        length, self.room = self.get_seq_length(), self.room[:, indices]
        self.keys, self.values = self.room[..., :length, :]


class Pretrained(nn.Module):
    """A model of transformers, from pretrained weights or fresh.

    Args:
        start_id: what the decoder begins with.
    """

    def __init__(self, inner: nn.Module, start_id: int, end_id: int, pad_id: int):
        super().__init__()
        self.inner, self.start_id, self.end_id, self.pad_id = inner, start_id, end_id, pad_id
        self.memory = nn.Identity()  # a place that can be read and replaced

    def encode(self, tokens: Int[Tensor, "b n"], present: Bool[Tensor, "b n"]) -> State:
        """What the encoder makes of the texts, once."""
        encoder: Any = self.inner.get_encoder()  # type: ignore[operator]
        found = encoder(input_ids=tokens, attention_mask=present.long(), return_dict=True)
        return {"memory": self.memory(found.last_hidden_state), "present": present, "cache": None}

    def forced(self, state: State, said: Int[Tensor, "b t"]) -> Float[Tensor, "b t v"]:
        """Logits of each token of `said` given those before it."""
        before = torch.cat([torch.full_like(said[:, :1], self.start_id), said[:, :-1]], 1)
        return self._run(state, before, use_cache=False).logits

    def step(self, state: State, tokens: Int[Tensor, " b"]) -> tuple[Float[Tensor, "b v"], State]:
        """Logits of what follows `tokens`; keys and values of what came before are kept."""
        cache = state["cache"] or EncoderDecoderCache(Cache(layer_class_to_replicate=Growing), DynamicCache())
        found = self._run(state, rearrange(tokens, "b -> b 1"), use_cache=True, past_key_values=cache)
        return found.logits[:, -1], {**state, "cache": found.past_key_values}

    def select(self, state: State, rows: Int[Tensor, " r"]) -> State:
        """The state of these rows, which may repeat; the one that was given is used up."""
        if (cache := state["cache"]) is not None:
            for part in (cache.self_attention_cache, cache.cross_attention_cache):
                part.batch_select_indices(rows)
        return {"memory": state["memory"][rows], "present": state["present"][rows], "cache": state["cache"]}

    def _run(self, state: State, before: Tensor, **more: Any) -> Any:
        return self.inner(
            encoder_outputs=BaseModelOutput(last_hidden_state=state["memory"]),
            attention_mask=state["present"].long(),
            decoder_input_ids=before,
            return_dict=True,
            **more,
        )


# ---- building ---------------------------------------------------------------------------------------------------------


def configuration(place: str, dropout: float | None) -> Any:
    """The architecture of an encoder-decoder, by folder or hub name.

    Raises:
        BadData: no such model, or none that reads a text and writes one.
    """
    config = load_config(place, dropout)
    if config.model_type not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES or not config.is_encoder_decoder:
        raise BadData(f"model {place!r}: {config.model_type} is no encoder-decoder of texts; a parser needs one, as T5 or BART")
    # none but the first T5 ties its output, which is the one that scales it; transformers 5 says that all do
    config.untied_output |= config.model_type == "mt5" or getattr(config, "scale_decoder_outputs", None) is False
    return config


def load(place: str, config: Any, from_random: bool) -> nn.Module:
    """The encoder-decoder of that configuration with the weights at the place; with fresh ones where `from_random`.

    Raises:
        BadData: there are no weights, or they lack keys.
    """
    if from_random:
        inner: Any = bare(config)
    else:
        with torch.device("meta"):  # the architecture alone, without memory or time
            frozen = [name for name, p in bare(config).named_parameters() if not p.requires_grad]  # Marian's sines
        inner = load_weights(AutoModelForSeq2SeqLM, place, config)
        for name in frozen:  # which loading has set free
            inner.get_parameter(name).requires_grad_(False)
    try:
        with unheard():
            inner.generation_config = GenerationConfig.from_pretrained(place)
    except OSError as error:  # without the file it is left to the configuration
        if (pathlib.Path(place) / "generation_config.json").exists():
            raise BadData(f"model {place!r}: generation_config.json: {str(error).splitlines()[0]}") from None
    return inner


def bare(config: Any) -> nn.Module:
    """The architecture with fresh weights."""
    with unheard():
        model = AutoModelForSeq2SeqLM.from_config(config).float()
    output = model.get_output_embeddings()
    if getattr(config, "untied_output", False) and output.weight is model.get_input_embeddings().weight:
        output.weight = nn.Parameter(torch.randn_like(output.weight) * getattr(config, "initializer_factor", 1.0))  # as T5 draws it
    return model


def small(vocabulary: int, width: int, layers: int, dropout: float, pad_id: int, end_id: int, start_id: int) -> nn.Module:
    """T5's architecture for two cores: heads of 32, an inner layer of four times the width."""
    if width % 32:
        raise BadUsage(f"task.width={width}: heads are 32 wide, so it must be a multiple of 32")
    config = T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=32,
        d_ff=4 * width,
        num_layers=layers,
        num_decoder_layers=layers,
        num_heads=width // 32,
        dropout_rate=dropout,
        pad_token_id=pad_id,
        eos_token_id=end_id,
    )
    config.decoder_start_token_id = start_id
    return bare(config)


def writing(inner: Any, beams: int) -> Writing:
    """How the model's own settings say that it writes.

    Differs: what is meant to keep prose from repeating itself (`no_repeat_ngram_size`, `repetition_penalty`, least lengths) goes; of
    banned words those of one piece are held to.

    Args:
        beams: 0 is the model's own number.
    """
    told = inner.generation_config
    penalty = told.length_penalty
    return Writing(
        beams=beams or told.num_beams or 1,
        length_penalty=1.0 if penalty is None else float(penalty),
        early=told.early_stopping is True,
        banned=tuple(word[0] for word in told.bad_words_ids or [] if len(word) == 1),
        first=told.forced_bos_token_id,
        last=told.forced_eos_token_id,
        renormalise=bool(told.renormalize_logits),
    )


def positions(inner: Any) -> int | None:
    """Longest text and target that the model has places for; None for one that counts distances, as T5."""
    return getattr(inner.config, "max_position_embeddings", None)


# ---- pieces -----------------------------------------------------------------------------------------------------------


def tables(inner: Any) -> list[Any]:
    """The modules with a row for each piece: word vectors, output layer, word vectors of the encoder and of the decoder.

    The first is one of its own, from which the stacks' were taken, or the encoder's.
    """
    stacks = [stack.get_input_embeddings() for stack in (inner.get_encoder(), inner.get_decoder())]
    return [getattr(inner.base_model, "shared", stacks[0]), inner.get_output_embeddings(), *stacks]


def owners(inner: Any) -> list[int]:
    """For each of the tables the first that has the same weight."""
    weights = [table.weight for table in tables(inner)]
    return [next(j for j, other in enumerate(weights) if other is weight) for weight in weights]


def fill(inner: Any, weights: Mapping[int, Tensor], owners: Sequence[int]) -> None:
    """Gives each table the weight of its owner."""
    fresh = {i: nn.Parameter(weight) for i, weight in weights.items()}
    for table, i in zip(tables(inner), owners, strict=True):
        table.weight = fresh[i]
        if isinstance(table, nn.Embedding):
            table.num_embeddings = len(fresh[i])
            table.padding_idx = inner.config.pad_token_id if table.padding_idx is not None else None
        else:
            table.out_features = len(fresh[i])


def tell(config: Any, vocabulary: int, ids: Mapping[str, int | None]) -> None:
    """Writes the size of a vocabulary and its special ids into a configuration."""
    config.vocab_size = vocabulary
    if hasattr(config, "decoder_vocab_size"):
        config.decoder_vocab_size = vocabulary
    for key in SPECIAL:
        if hasattr(config, key):
            setattr(config, key, ids.get(key))


def keep_pieces(inner: Any, kept: Sequence[int]) -> None:
    """Cuts the rows of all other pieces, in place; what shared a weight goes on sharing it.

    Raises:
        BadUsage: encoder and decoder have vocabularies of their own.
    """
    before, own, rows = tables(inner), owners(inner), torch.as_tensor(np.asarray(kept), dtype=torch.long)
    if len({len(table.weight) for table in before}) > 1:
        raise BadUsage("task.trim: encoder and decoder have vocabularies of their own; set task.trim=false")
    place: dict[Any, int] = {int(old): new for new, old in enumerate(kept)}
    told = inner.generation_config
    tell(inner.config, len(kept), {key: place.get(getattr(inner.config, key, None)) for key in SPECIAL})
    for key in SPECIAL:
        setattr(told, key, place.get(getattr(told, key)))
    told.bad_words_ids = [[place[i] for i in word] for word in told.bad_words_ids or [] if set(word) <= place.keys()] or None
    fill(inner, {i: before[i].weight.detach()[rows].clone() for i in set(own)}, own)
    if getattr(inner, "final_logits_bias", None) is not None:
        inner.final_logits_bias = inner.final_logits_bias[:, rows].clone()


def forget_rules(inner: Any, ids: Mapping[str, int | None]) -> None:
    """What may be written is told in pieces that the model has no more; how it is looked for stays."""
    inner.generation_config = GenerationConfig(**{key: getattr(inner.generation_config, key) for key in SEARCH}, **ids)


def start_afresh(inner: Any, vocabulary: int, ids: Mapping[str, int | None]) -> None:
    """Word vectors, of encoder and decoder each, and an output layer of their own in place of the model's, drawn as torch draws them.

    Args:
        ids: of the special pieces, under the names that configurations have for them.
    Source: Orhan 2021, whose protein models have learned no words. Differs: there a third table, which nothing reads, is drawn too.
    """
    width = inner.config.d_model
    tell(inner.config, vocabulary, ids)
    inner.config.tie_word_embeddings = False
    if hasattr(inner.config, "scale_decoder_outputs"):
        inner.config.scale_decoder_outputs = False
    forget_rules(inner, ids)
    read, written = (nn.Embedding(vocabulary, width).weight.detach() for _ in range(2))
    fill(inner, {0: read, 3: written, 1: nn.Linear(width, vocabulary, bias=False).weight.detach()}, [0, 1, 0, 3])
    if getattr(inner, "final_logits_bias", None) is not None:
        inner.final_logits_bias = torch.zeros(1, vocabulary)


# ---- keeping ----------------------------------------------------------------------------------------------------------


def write_config(inner: Any, folder: pathlib.Path) -> None:
    """The architecture, how it writes, and which tables share a weight, of which transformers keeps its own notion."""
    inner.config.save_pretrained(folder)
    inner.generation_config.to_json_file(folder / "generation_config.json")
    (folder / "tables.json").write_text(json.dumps(owners(inner)) + "\n")


def read_config(folder: pathlib.Path, dropout: float | None) -> nn.Module:
    """What `write_config` wrote, with fresh weights."""
    inner: Any = bare(load_config(str(folder), dropout))
    with unheard():
        inner.generation_config = GenerationConfig.from_pretrained(folder)
    own = json.loads((folder / "tables.json").read_text())
    before = tables(inner)
    fill(inner, {i: before[i].weight.detach().clone() for i in set(own)}, own)
    return inner
