"""Encoder folders load in transformers with every weight in its place; the real ones where a package cache holds them."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM

from pellucid.data import encoders, packages
from pellucid.errors import BadData, BadUsage

SIZES = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 9}


def tiny() -> tuple[BertForMaskedLM, dict[str, np.ndarray], dict]:
    config = BertConfig(**SIZES, max_position_embeddings=6)
    model = BertForMaskedLM(config).eval()
    arrays = {name: tensor.numpy() for name, tensor in model.state_dict().items() if "decoder" not in name}
    return model, arrays, config.to_dict()


def old_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in arrays.items()}


def test_heads_prefixes_and_old_names_go_and_are_named():
    model, arrays, config = tiny()
    weights, left_out = encoders.encoder_weights(old_names(arrays), config, "x.whl")
    assert weights.keys() == model.bert.state_dict().keys()
    assert all(np.array_equal(weights[name], tensor) for name, tensor in model.bert.state_dict().items())
    assert left_out == [f"cls.predictions.{end}" for end in ("bias", *(f"transform.{p}" for p in PARTS))]


PARTS = ("LayerNorm.bias", "LayerNorm.weight", "dense.bias", "dense.weight")


def test_a_missing_unknown_or_misshapen_weight_is_named():
    _, arrays, config = tiny()
    gone = {k: v for k, v in arrays.items() if k != "bert.encoder.layer.1.output.dense.bias"}
    with pytest.raises(BadData, match=r"x.whl: weight encoder.layer.1.output.dense.bias is missing"):
        encoders.encoder_weights(gone, config, "x.whl")
    with pytest.raises(BadData, match="weight surprise is unknown"):
        encoders.encoder_weights({**arrays, "surprise": np.zeros(1)}, config, "x.whl")
    with pytest.raises(BadData, match=r"weight embeddings.word_embeddings.weight is \(9, 8\), the config says \(10, 8\)"):
        encoders.encoder_weights(arrays, {**config, "vocab_size": 10}, "x.whl")


@pytest.fixture
def store(tmp_path, monkeypatch) -> BertForMaskedLM:
    """A package of bert-tiny's layout in an otherwise empty cache."""
    model, arrays, config = tiny()
    (tmp_path / "packages").mkdir()
    path = tmp_path / "packages/store.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("m/config.json", json.dumps(config))
        wheel.writestr("m/model.safetensors", save(old_names(arrays)))
        wheel.writestr("m/tokenizer.json", "{}")
        wheel.writestr("m/tokenizer_config.json", "{}")
    pin = packages.Package("store", "1", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "wheel", "MIT")
    monkeypatch.setitem(encoders._ORIGIN, "bert-tiny", (pin, "m"))
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    return model


def test_the_folder_loads_without_a_surprise_and_computes_the_same(store):
    folder = encoders.encoder_folder("bert-tiny")
    loaded, info = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.equal(loaded.eval()(tokens).last_hidden_state, store.bert(tokens).last_hidden_state)
    assert "left out: cls.predictions.bias" in (folder / "SOURCE").read_text()


def test_the_folder_is_made_once_and_whole(store, tmp_path, monkeypatch):
    folder = encoders.encoder_folder("bert-tiny")
    (tmp_path / "packages/store.whl").unlink()
    assert encoders.encoder_folder("bert-tiny") == folder
    assert [p.name for p in folder.parent.iterdir()] == ["bert-tiny-1"]


def test_an_unknown_encoder_gives_the_nearest():
    with pytest.raises(BadUsage, match="no encoder 'minilmm'; did you mean 'minilm'"):
        encoders.encoder_folder("minilmm")


def test_quantised_weights_come_back_as_q_less_zero_times_scale_and_turned():
    onnx = pytest.importorskip("onnx")

    def stored(name: str, values: object, kind: type) -> "onnx.TensorProto":
        return onnx.numpy_helper.from_array(np.asarray(values, dtype=kind), name)

    initial = [
        stored("embeddings.word_embeddings.weight_quantized", [[130, 128]], np.uint8),
        stored("embeddings.word_embeddings.weight_scale", 0.5, np.float32),
        stored("embeddings.word_embeddings.weight_zero_point", 128, np.uint8),
        stored("onnx::MatMul_7_quantized", [[1, -2], [3, 4], [5, 127]], np.int8),
        stored("onnx::MatMul_7_scale", [0.1, 10.0], np.float32),  # one scale a column
        stored("onnx::MatMul_7_zero_point", [0, 1], np.int8),
        stored("encoder.layer.0.output.dense.bias", [7.0, 8.0], np.float32),
    ]
    dense = onnx.helper.make_node("MatMulInteger", ["x", "onnx::MatMul_7_quantized"], ["y"], "/encoder/layer.0/output/dense/MatMul_quant")
    scores = onnx.helper.make_node("MatMulInteger", ["q", "k"], ["s"], "/encoder/layer.0/attention/self/MatMul_quant")
    model = onnx.helper.make_model(onnx.helper.make_graph([dense, scores], "g", [], [], initial))
    found = encoders._from_onnx(model.SerializeToString())
    assert found.keys() == {
        "embeddings.word_embeddings.weight",
        "encoder.layer.0.output.dense.weight",
        "encoder.layer.0.output.dense.bias",
    }
    np.testing.assert_allclose(found["embeddings.word_embeddings.weight"], [[1.0, 0.0]])
    np.testing.assert_allclose(found["encoder.layer.0.output.dense.weight"], [[0.1, 0.3, 0.5], [-30.0, 30.0, 1260.0]], rtol=1e-6)


SENTENCES = ["A man is playing a guitar.", "Someone plays the guitar.", "Shares fell sharply today.", "The stock market dropped."]


@pytest.mark.parametrize(("name", "num_parameters"), [("minilm", 22_565_376), ("bge-small", 33_212_160), ("bert-tiny", 4_369_408)])
def test_a_real_encoder_puts_sentences_of_one_meaning_side_by_side(name, num_parameters):
    package, _ = encoders._ORIGIN[name]
    if not (packages.cache_folder() / "packages" / package.file).is_file():
        pytest.skip("the package is not in the cache")
    folder = encoders.encoder_folder(name)
    model, info = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert sum(p.numel() for p in model.parameters()) == num_parameters
    batch = AutoTokenizer.from_pretrained(folder)(SENTENCES, return_tensors="pt", padding=True)
    with torch.no_grad():
        hidden = model.eval()(**batch).last_hidden_state
    present = batch["attention_mask"][..., None]
    means = torch.nn.functional.normalize((hidden * present).sum(1) / present.sum(1))
    cosine = means @ means.T
    assert min(cosine[0, 1], cosine[2, 3]) > cosine[:2, 2:].max() + 0.1
