"""Any encoder-decoder of transformers as a net that writes token by token."""

import copy
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, DynamicCache, EncoderDecoderCache, T5Config
from transformers.modeling_outputs import BaseModelOutput

from pellucid.errors import BadData, BadUsage
from pellucid.nn.language import load_config, load_weights, unheard

State = dict[str, Any]
SPECIAL = ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_eos_token_id", "forced_bos_token_id")


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
        cache = state["cache"] or EncoderDecoderCache(DynamicCache(), DynamicCache())
        found = self._run(state, rearrange(tokens, "b -> b 1"), use_cache=True, past_key_values=cache)
        return found.logits[:, -1], {**state, "cache": found.past_key_values}

    def select(self, state: State, rows: Int[Tensor, " r"]) -> State:
        """The state of these rows, which may repeat; the one that was given is used up."""
        if state["cache"] is not None:
            state["cache"].batch_select_indices(rows)
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


def load(place: str, dropout: float | None, from_random: bool) -> nn.Module:
    """An encoder-decoder by folder or hub name; the same architecture with fresh weights where `from_random`.

    Raises:
        BadData: no such model, none that writes, or weights that lack keys.
    """
    config = load_config(place, dropout)
    if not config.is_encoder_decoder:
        raise BadData(f"model {place!r}: a {config.model_type} only reads; a parser needs an encoder-decoder, as T5 or BART")
    return bare(config) if from_random else load_weights(AutoModelForSeq2SeqLM, place, config)


def bare(config: Any) -> nn.Module:
    """The architecture with fresh weights."""
    with unheard():
        return AutoModelForSeq2SeqLM.from_config(config).float()


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


def vocabulary_weights(inner: Any) -> list[Any]:
    """The modules that hold a row for each piece: word vectors of encoder and decoder, and the output layer."""
    found = [inner.get_input_embeddings(), inner.get_output_embeddings()]
    found += [stack.get_input_embeddings() for stack in (inner.get_encoder(), inner.get_decoder())]
    return list({id(m): m for m in found if m is not None}.values())


def keep_pieces(inner: Any, kept: Sequence[int]) -> None:
    """Cuts the rows of all other pieces, in place; what shared a weight goes on sharing it.

    Raises:
        BadUsage: encoder and decoder have vocabularies of their own.
    """
    modules, rows = vocabulary_weights(inner), torch.as_tensor(np.asarray(kept), dtype=torch.long)
    if len({m.weight.shape[0] for m in modules}) > 1:
        raise BadUsage("task.trim: encoder and decoder have vocabularies of their own; set task.trim=false")
    place = {int(old): new for new, old in enumerate(kept)}
    fresh: dict[int, nn.Parameter] = {}
    for module in modules:
        weight = module.weight
        module.weight = fresh.setdefault(id(weight), nn.Parameter(weight.detach()[rows].clone()))
        if isinstance(module, nn.Embedding):
            module.num_embeddings = len(kept)
            module.padding_idx = place.get(module.padding_idx) if module.padding_idx is not None else None
        else:
            module.out_features = len(kept)
    if getattr(inner, "final_logits_bias", None) is not None:
        inner.register_buffer("final_logits_bias", inner.final_logits_bias[:, rows].clone())
    _tell_config(inner.config, place)


def _tell_config(config: Any, place: dict[int, int]) -> None:
    config.vocab_size = len(place)
    if hasattr(config, "decoder_vocab_size"):
        config.decoder_vocab_size = len(place)
    for key in SPECIAL:
        if isinstance(old := getattr(config, key, None), int):
            setattr(config, key, place.get(old))


def start_afresh(inner: Any, vocabulary: int) -> None:
    """Word vectors, of encoder and decoder each, and an output layer of their own in place of the model's, drawn as torch draws them.

    Source: Orhan 2021, whose protein models have learned no words. Differs: there a third table, which nothing reads, is drawn too.
    """
    width = inner.config.d_model
    shared = nn.Embedding(vocabulary, width)
    for stack, table in ((inner.get_encoder(), shared), (inner.get_decoder(), nn.Embedding(vocabulary, width))):
        stack.set_input_embeddings(table)
    if hasattr(inner, "shared"):
        inner.shared = shared
    inner.set_output_embeddings(nn.Linear(width, vocabulary, bias=False))
    inner.config.vocab_size = vocabulary
    inner.config.tie_word_embeddings = False
    if hasattr(inner.config, "scale_decoder_outputs"):
        inner.config.scale_decoder_outputs = False


def write_config(inner: Any, folder: pathlib.Path) -> None:
    """The architecture, in the layout of transformers."""
    config = copy.deepcopy(inner.config)
    config.save_pretrained(folder)


def read_config(folder: pathlib.Path, dropout: float | None) -> Any:
    """What `write_config` wrote."""
    return load_config(str(folder), dropout)
