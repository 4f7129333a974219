"""Pretrained language models of transformers: configuration and weights from a folder or the hub, from safetensors alone."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from pellucid.errors import BadData

DROPOUTS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "dropout_rate",
    "activation_dropout",
    "classifier_dropout",
)


def load_config(name: str, dropout: float | None) -> Any:
    """The configuration in a folder or on the hub, with the dropout asked for; None leaves its own.

    Raises:
        BadData: there is none.
    """
    try:
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        raw, _ = PretrainedConfig.get_config_dict(name)
    except (OSError, ValueError) as error:
        raise BadData(f"model {name!r}: {str(error).splitlines()[0]}") from None
    # T5's constructor sets it true, whatever the file says, and ties even the word vectors of encoder and decoder where it is false
    config.untied_output = bool(raw.get("untied_output", raw.get("tie_word_embeddings") is False))
    for key in DROPOUTS if dropout is not None else ():
        if hasattr(config, key):
            setattr(config, key, dropout)
    return config


def load_weights(kind: Any, name: str, config: Any, left_out: str = r"(?!)") -> nn.Module:
    """The model of the configuration with the weights that are in the folder or on the hub, in float32.

    Args:
        kind: one of transformers' Auto classes.
        left_out: pattern of keys that may be missing.
    Raises:
        BadData: no weights as safetensors, or keys that they lack.
    """
    try:
        with unheard():
            model, told = kind.from_pretrained(name, config=config, use_safetensors=True, output_loading_info=True, dtype=torch.float32)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadData(f"model {name!r}: {str(error).splitlines()[0]}") from None
    missing = sorted(k for k in told["missing_keys"] if not re.match(left_out, k))
    if missing:
        raise BadData(f"model {name!r}: its weights lack {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}")
    return model


def encoder_of(config: Any, name: str = "", pooler: bool = False) -> nn.Module:
    """The encoder of the configuration in float32, with the weights of `load_weights`, or random ones where there is no name.

    Args:
        pooler: keep the part that makes one vector of a text, where it has one; which nothing reads must not wait for a gradient.
    Raises:
        BadData: as `load_weights`; the pooler's may be missing, and are random then.
    """
    model: nn.Module = load_weights(AutoModel, name, config, r"pooler\.") if name else AutoModel.from_config(config).float()
    if not pooler and getattr(model, "pooler", None) is not None:
        model.pooler = None  # type: ignore[assignment]
    return model


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Within the block transformers reports nothing of its own: what is missing we say ourselves."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()


def blocks(owner: nn.Module, stack: nn.Module, count: int) -> list[str]:
    """Dotted names, within `owner`, of the layers of one of its stacks; none for a stack whose layers share one module.

    Args:
        count: of layers, as the configuration says.
    """
    lists = [m for m in stack.modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    names = [name for name, m in owner.named_modules() if lists and m is lists[0]]
    return [f"{names[0]}.{k}" for k in range(count)] if names else []
