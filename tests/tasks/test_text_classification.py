import json
import math
import struct

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from pellucid.data.tokens import Pieces, Words, load_pieces
from pellucid.errors import BadData
from pellucid.tasks.text_classification.data import read_vectors
from pellucid.tasks.text_classification.model import Baseline
from pellucid.tasks.text_classification.settings import BASELINES, TextSettings
from pellucid.testing import check_task

ROWS = [
    {"id": "1", "text": "a superb film", "label": "good"},
    {"id": "2", "text": "a truly dreadful and boring film, sadly", "label": "bad"},
    {"id": "3", "text": "superb", "label": "good"},
    {"id": "4", "text": "Boring, dreadful; boring!", "label": "bad"},
    {"id": "5", "text": "the cast is superb, the plot less so", "label": "good"},
]
PAIRS = [{**row, "text_pair": other["text"], "label": float(i)} for i, (row, other) in enumerate(zip(ROWS, reversed(ROWS), strict=True))]
WORDPIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "film",
    "super",
    "##b",
    "dread",
    "##ful",
    "bor",
    "##ing",
    "the",
    "is",
    ",",
    ".",
    "and",
]


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    """A local model folder in the layout of transformers: BERT of two layers with random weights."""
    folder = tmp_path_factory.mktemp("tiny_bert")
    inner = Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDPIECES)}, unk_token="[UNK]"))
    inner.normalizer, inner.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    pair = "[CLS] $A [SEP] $B:1 [SEP]:1"
    inner.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair=pair, special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(WORDPIECES), max_position_embeddings=40, initializer_range=0.3, **sizes)
    BertModel(config).save_pretrained(folder)
    return folder


def built(model, rows=ROWS, seed=0, **settings):
    torch.manual_seed(seed)
    return TextSettings(str(model), max_length=32, **settings).build(rows)


# ---- promises -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", BASELINES)
def test_a_baseline_keeps_the_promises_of_a_task(model):
    check_task(built(model), ROWS)


@pytest.mark.parametrize("model", BASELINES)
def test_a_baseline_of_two_texts_keeps_them_too(model):
    check_task(built(model, PAIRS, target="value"), PAIRS)
    check_task(built(model, [{**p, "label": str(int(p["label"]) % 3)} for p in PAIRS]), [{**p, "label": "1"} for p in PAIRS])


def test_a_pretrained_encoder_keeps_them(tiny_bert):
    check_task(built(tiny_bert, dropout=0.1), ROWS)


def test_a_pretrained_encoder_of_two_texts_keeps_them(tiny_bert):
    check_task(built(tiny_bert, PAIRS, target="value", pooling="first"), PAIRS)


def test_a_task_comes_back_from_its_folder(tiny_bert, tmp_path):
    for model in (tiny_bert, "bow"):
        settings = TextSettings(str(model), max_length=32)
        task = settings.build(ROWS)
        settings.write(task, tmp_path / str(model)[-3:])
        again = settings.read(tmp_path / str(model)[-3:])
        again.model.load_state_dict(task.model.state_dict(), strict=True)
        task.model.eval(), again.model.eval()
        assert torch.equal(task.model(task.collate(ROWS))["logits"], again.model(again.collate(ROWS))["logits"])
        assert again.labels == ("bad", "good")


# ---- models -------------------------------------------------------------------------------------------------------------


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_baselines_have_the_sizes_of_the_paper():
    v = 1000
    assert count(Baseline("bow", v, 2, False, False, 5.0)) == v * 300 + 300 + 300 * 2 + 2
    assert count(Baseline("lstm", v, 2, False, False, 5.0).lstm) == 3_768_320
    assert count(Baseline("convnet", v, 2, False, False, 5.0).convolutions) == 2_152_448


def test_a_bag_of_words_is_a_linear_layer_over_counts():
    task = built("bow")
    batch = task.collate(ROWS[3:4])
    counts = torch.zeros(1, len(task.tokenizer.vocabulary))
    for token in batch["tokens"][0]:
        counts[0, token] += 1
    hidden = counts @ task.model.embedding.weight + task.model.bias
    torch.testing.assert_close(task.model(batch)["logits"], task.model.head(hidden))
    assert counts.max() == 2  # a word said twice counts twice


def test_the_siamese_score_is_five_times_the_cosine():
    task = built("average", PAIRS, target="value")
    same = [{"id": "1", "text": "a superb film", "text_pair": "A superb  film"}]
    assert task.model(task.collate(same))["value"].item() == pytest.approx(5.0, abs=1e-4)


def test_the_papers_average_is_a_sum():
    mean, total = built("average"), built("average", official_sum=True)
    total.model.load_state_dict(mean.model.state_dict())
    batch = mean.collate(ROWS[:1])
    torch.testing.assert_close(total.model.features(batch), 3 * mean.model.features(batch))


def test_the_head_starts_as_the_regression_on_frozen_features(tiny_bert):
    from sklearn.linear_model import LogisticRegression

    task = built(tiny_bert, start_head=True)
    task.model.eval()
    batch = task.collate(ROWS)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = task.model.features(batch).float().numpy()
    fit = LogisticRegression(C=0.1).fit(features, [r["label"] for r in ROWS])
    with torch.no_grad():
        odds = task.model.head(torch.from_numpy(features)).diff(dim=1)[:, 0]
    np.testing.assert_allclose(odds.numpy(), fit.decision_function(features), atol=1e-3)


def test_random_weights_keep_only_the_architecture(tiny_bert):
    pretrained, fresh = built(tiny_bert).model.encoder, built(tiny_bert, seed=1, from_random=True).model.encoder
    assert fresh.state_dict().keys() == pretrained.state_dict().keys()
    assert not torch.equal(fresh.embeddings.word_embeddings.weight, pretrained.embeddings.word_embeddings.weight)


def test_weights_that_lack_a_layer_are_refused(tiny_bert, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in tiny_bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if "layer.1.output" not in k}
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadData, match=r"its weights lack encoder\.layer\.1\.output"):
        built(tmp_path)


def test_a_model_that_cannot_be_had_is_told_in_one_line(tmp_path):
    with pytest.raises(BadData, match="model 'nobody/nothing'"):
        built("nobody/nothing")


# ---- words --------------------------------------------------------------------------------------------------------------


def test_pieces_belong_to_their_words(tiny_bert):
    task = built(tiny_bert)
    batch = task.collate(ROWS[:1])
    assert batch["words"][0] == ["a", "superb", "film"]
    assert batch["word_of_token"][0].tolist() == [-1, 0, 1, 1, 2, -1]


def test_words_of_a_second_text_follow_those_of_the_first(tiny_bert):
    [one] = Pieces(load_pieces(str(tiny_bert)).inner).encode(["a film"], ["superb film"], 32)
    assert one.words("a film", "superb film") == ["a", "film", "superb", "film"]
    assert one.word_of_token.tolist() == [-1, 0, 1, -1, 2, 2, 3, -1]
    assert one.segments.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_what_is_cut_off_is_told(tiny_bert):
    rows = built(tiny_bert).prepare([{"id": "1", "text": "film " * 50}, ROWS[0]], "here")
    assert [r["truncated"] for r in rows] == [True, False]
    assert rows[0]["length"] == 32


def test_a_word_that_training_lacked_has_its_own_token():
    tokenizer = Words.learn(["a film a"])
    assert tokenizer.vocabulary[1:] == ["a", "film"]
    assert tokenizer.encode(["A kettle film", ""], None, 9)[0].tokens.tolist() == [1, 0, 2]
    assert tokenizer.encode([""], None, 9)[0].tokens.tolist() == [0]


def test_glove_and_word2vec_files_give_the_same_vectors(tmp_path):
    words = {"film": [1.0, 2.0, 3.0], "superb": [0.5, -1.0, 0.0]}
    (tmp_path / "v.txt").write_text("".join(f"{w} {' '.join(map(str, v))}\n" for w, v in words.items()))
    raw = b"2 3\n" + b"".join(w.encode() + b" " + struct.pack("3f", *v) + b"\n" for w, v in words.items())
    (tmp_path / "v.bin").write_bytes(raw)
    vocabulary = ["[unknown]", "superb", "plot"]
    want = [[0, 0, 0], [0.5, -1, 0], [0, 0, 0]]
    for name in ("v.txt", "v.bin"):
        assert read_vectors(tmp_path / name, vocabulary).tolist() == want


def test_a_vector_file_cut_short_is_refused(tmp_path):
    (tmp_path / "v.bin").write_bytes(b"2 3\nfilm " + struct.pack("3f", 1, 2, 3) + b"plot " + b"\0\0")
    with pytest.raises(ValueError, match="word 2 of 2: the file ends here"):
        read_vectors(tmp_path / "v.bin", ["film"])


def test_given_vectors_stay_fixed(tmp_path):
    (tmp_path / "v.txt").write_text("film " + " ".join(["0.1"] * 300) + "\n")
    task = built("average", vectors=str(tmp_path / "v.txt"))
    assert not task.model.embedding.weight.requires_grad
    assert task.model.embedding.weight[task.tokenizer.index["film"]].mean().item() == pytest.approx(0.1)


# ---- bad rows -------------------------------------------------------------------------------------------------------------


def test_an_unknown_label_is_told_with_its_row():
    with pytest.raises(BadData, match=r"tests\.csv, row 9: label 'fine' is not one of bad, good; map it with --label fine=NAME"):
        built("bow").prepare([{"id": "9", "text": "x", "label": "fine"}], "tests.csv")


@pytest.mark.parametrize(
    ("label", "message"), [("nan", "label is nan"), (math.inf, "label is inf"), ("much", "label 'much' is not a number")]
)
def test_a_target_that_is_no_number_is_told_with_its_row(label, message):
    task = built("bow", PAIRS, target="value")
    with pytest.raises(BadData, match=f"here, row 3: {message}"):
        task.prepare([{**PAIRS[0], "id": "3", "label": label}], "here")


def test_numbers_are_not_taken_for_classes():
    rows = [{"id": str(i), "text": "x", "label": str(i / 7)} for i in range(300)]
    with pytest.raises(BadData, match=r"300 labels in 300 rows; for numbers use --set task\.target=value"):
        built("bow", rows)


def test_one_label_alone_is_refused():
    with pytest.raises(BadData, match="every label is 'good'"):
        built("bow", [ROWS[0], ROWS[2]])


def test_labels_are_in_natural_order():
    rows = [{"id": str(i), "text": "x", "label": str(i)} for i in (10, 9, 1)]
    assert built("bow", rows).labels == ("1", "9", "10")


def test_settings_are_plain_json(tmp_path):
    settings = TextSettings("bow")
    settings.write(settings.build(ROWS), tmp_path)
    assert json.loads((tmp_path / "labels.json").read_text()) == {"labels": ["bad", "good"], "pairs": False}


def test_the_gold_answer_scores_the_label_and_not_the_guess():
    task = built("bow")
    output = task.model(task.collate(ROWS))
    gold = task.score(output, task.gold(ROWS))
    torch.testing.assert_close(-gold.mean(), task.loss(output, task.collate(ROWS))["cross_entropy"])
