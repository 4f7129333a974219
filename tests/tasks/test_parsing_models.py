"""Every family of encoder-decoders as a parser, of two layers and random weights, each beside transformers' own code."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from pellucid import checkpoint
from pellucid.errors import BadData, BadUsage
from pellucid.nn.language import load_config, unheard
from pellucid.tasks.parsing import pretrained
from pellucid.tasks.parsing.settings import ParsingSettings
from pellucid.testing import check_task

ROWS = [
    {"id": "1", "text": "jump twice", "label": "I_JUMP I_JUMP"},
    {"id": "2", "text": "walk left and look", "label": "I_TURN_LEFT I_WALK I_LOOK"},
    {"id": "3", "text": "turn right", "label": "I_TURN_RIGHT"},
    {"id": "4", "text": "look around left after walk thrice", "label": "I_WALK I_WALK I_WALK I_TURN_LEFT I_LOOK I_TURN_LEFT I_LOOK"},
]
ASKED = [{"id": row["id"], "text": row["text"]} for row in ROWS]
SHORT = [ROWS[0], ROWS[2]]
MOST = 64
FAMILIES = ("t5", "flan", "mt5", "codet5", "bart", "mbart", "marian")
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 2, "num_heads": 2, "layer_norm_epsilon": 0.1, "decoder_start_token_id": 0}
BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "init_std": 0.5}
BART |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 2 * MOST}


def pieces():
    """Unigram pieces that spell the rows, most of them in parts of words, with a score each."""
    words = {f"\u2581{word}" for row in ROWS for word in f"{row['text']} {row['label']}".split()}
    parts = {word[i:j] for word in words for i in range(len(word)) for j in range(i + 1, min(i + 4, len(word)) + 1)}
    return [(part, -float(len(parts)) / (1 + len(part))) for part in sorted(parts)]


def byte_level(special):
    """Vocabulary and merges of byte-level BPE learned from the rows, special pieces first."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator([f"{row['text']} {row['label']}" for row in ROWS], trainer)
    told = json.loads(inner.to_str())["model"]
    return {"vocab": told["vocab"], "merges": [tuple(merge) for merge in told["merges"]]}


def t5_tokenizer(kind):
    return kind(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *pieces()], extra_ids=2)


def mbart_tokenizer():
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return transformers.MBartTokenizer(vocab=[*special, *pieces()], src_lang="en_XX", tgt_lang="ro_RO")


def marian_tokenizer(folder):
    spm = pytest.importorskip("sentencepiece")
    texts = [row["text"] for row in ROWS] * 5, [row["label"] for row in ROWS] * 5
    how = {"vocab_size": 40, "hard_vocab_limit": False, "minloglevel": 2}
    files = [folder / "source.spm", folder / "target.spm"]
    found = set()
    for file, lines in zip(files, texts, strict=True):
        with file.open("wb") as writer:
            spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=writer, **how)
        part = spm.SentencePieceProcessor(model_file=str(file))
        found |= {part.id_to_piece(i) for i in range(part.get_piece_size())}
    words = ["</s>", "<unk>", *sorted(found - {"<s>", "</s>", "<unk>"}), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    return transformers.MarianTokenizer(str(files[0]), str(files[1]), str(folder / "vocab.json"))


def parts_of(family, folder):
    """The tokenizer, the configuration and what the folder's files say beside it."""
    if family in ("t5", "flan", "mt5"):
        tokenizer = t5_tokenizer(transformers.T5Tokenizer)
        gated = {} if family == "t5" else {"feed_forward_proj": "gated-gelu"}
        kind = transformers.MT5Config if family == "mt5" else transformers.T5Config
        rows = len(tokenizer) + (30 if family == "mt5" else 0)  # mT5 has more rows than its tokenizer pieces
        return tokenizer, kind(vocab_size=rows, **gated, **T5), {} if family == "t5" else {"tie_word_embeddings": False}
    if family == "codet5":
        tokenizer = transformers.RobertaTokenizer(**byte_level(["<pad>", "<s>", "</s>", "<unk>", "<mask>"]))
        return tokenizer, transformers.T5Config(vocab_size=len(tokenizer), eos_token_id=2, bos_token_id=1, **T5), {}
    if family == "bart":
        tokenizer = transformers.BartTokenizer(**byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]))
        return tokenizer, transformers.BartConfig(vocab_size=len(tokenizer), **BART), {}
    if family == "mbart":
        tokenizer = mbart_tokenizer()
        return tokenizer, transformers.MBartConfig(vocab_size=len(tokenizer), scale_embedding=True, **BART), {}
    tokenizer = marian_tokenizer(folder)
    ids = {"pad_token_id": len(tokenizer) - 1, "decoder_start_token_id": len(tokenizer) - 1, "eos_token_id": 0, "forced_eos_token_id": 0}
    return tokenizer, transformers.MarianConfig(vocab_size=len(tokenizer), scale_embedding=True, **ids, **BART), {}


def made(family, folder):
    """A model folder as it would lie on the hub."""
    torch.manual_seed(0)
    tokenizer, config, told = parts_of(family, folder)
    with unheard():
        model = AutoModelForSeq2SeqLM.from_config(config)
        if told:  # an output layer of its own, as only files say
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) / 4)
        if family in ("bart", "marian"):
            model.final_logits_bias.normal_()
        if family == "marian":
            model.generation_config.update(bad_words_ids=[[config.pad_token_id]], num_beams=3, renormalize_logits=True)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    raw = json.loads((folder / "config.json").read_text())
    raw.pop("scale_decoder_outputs", None)  # a name that only transformers 5 writes
    (folder / "config.json").write_text(json.dumps(raw | told))
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """The folder of each family, made when it is first asked for."""
    done = {}

    def folder(family):
        if family not in done:
            done[family] = made(family, tmp_path_factory.mktemp(family))
        return str(done[family])

    return folder


def built(folder, seed=0, **settings):
    torch.manual_seed(seed)
    with unheard():
        task = ParsingSettings(folder, **{"max_target": MOST, "max_source": MOST, **settings}).build(ROWS)
    task.model.eval()
    return task


def theirs(folder):
    """Model and tokenizer as transformers loads them."""
    with unheard():
        return AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def written(task, rows=ASKED):
    with torch.no_grad():
        return task.model(task.collate(rows))


def rows_of(output):
    return [ids[here].tolist() for ids, here in zip(output["tokens"], output["tokens_present"], strict=True)]


def forced_loss(task):
    batch = task.train_batch(task.prepare(ROWS, "rows"), [0] * len(ROWS))
    return task.loss(task.model(batch), batch)["cross_entropy"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_keeps_the_promises_of_tasks(folders, family):
    check_task(built(folders(family), max_target=16, trim=family == "mbart"), SHORT)


def test_beams_keep_the_promises_of_tasks(folders):
    check_task(built(folders("bart"), max_target=16, beams=4), SHORT)


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_and_targets_are_encoded_as_the_model_s_tokenizer_does(folders, family):
    task, (_, tokenizer) = built(folders(family)), theirs(folders(family))
    rows = task.prepare(ROWS, "rows")
    end = tokenizer.eos_token_id
    for row in rows:
        assert row["tokens"].tokens.tolist() == tokenizer(row["text"])["input_ids"]
        ids = tokenizer(text_target=row["label"])["input_ids"]
        assert row["target"].tolist() == ids[: ids.index(end) + 1]
        assert task.tokenizer.decode(row["target"].tolist()) == row["label"] and not row["unknown"]


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_are_those_of_transformers(folders, family):
    task, (model, _) = built(folders(family)), theirs(folders(family))
    batch = task.train_batch(task.prepare(ROWS, "rows"), [0] * len(ROWS))
    mine = forced_loss(task)
    labels = batch["said"].where(batch["said_present"], -100)
    start = {} if family != "mbart" else {"decoder_input_ids": shifted(batch["said"], task.tokenizer.start_id)}
    loss = model(input_ids=batch["tokens"], attention_mask=batch["tokens_present"].long(), labels=labels, **start).loss
    assert mine.item() == pytest.approx(loss.item(), abs=1e-5)
    mine.backward()
    loss.backward()
    other = dict(model.named_parameters())
    for name, parameter in task.model.net.inner.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, other[name].grad, atol=1e-5, rtol=1e-3, msg=name)


def shifted(said, start):
    """mBART's own shift moves the language code, which stands after the end, to the front: our targets have none."""
    return torch.cat([torch.full_like(said[:, :1], start), said[:, :-1]], 1)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beams", [1, 4])
def test_what_is_written_is_what_generate_writes(folders, family, beams):
    task, (model, _) = built(folders(family), max_target=12, beams=beams), theirs(folders(family))
    batch = task.collate(ASKED)
    how = {"max_new_tokens": 12, "num_beams": beams, "do_sample": False, "decoder_start_token_id": task.tokenizer.start_id}
    with unheard():
        found = model.generate(batch["tokens"], attention_mask=batch["tokens_present"].long(), **how)[:, 1:].tolist()
    end = task.tokenizer.end_id
    assert rows_of(written(task)) == [row[: row.index(end) + 1] if end in row else row for row in found]


def test_no_beams_are_as_many_as_the_checkpoint_says(folders):
    own, three = (written(built(folders("marian"), max_target=12, beams=beams)) for beams in (0, 3))
    assert rows_of(own) == rows_of(three) != rows_of(written(built(folders("marian"), max_target=12, beams=1)))


SETTINGS = {
    "as it is": {},
    "trimmed": {"trim": True},
    "fresh": {"fresh_embeddings": True},
    "random": {"from_random": True, "trim": True},
    "words": {"fresh_embeddings": True, "tokenizer": "words"},
}


@pytest.mark.parametrize("how", SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_kept_task_scores_and_learns_as_before(folders, family, how, tmp_path):
    settings = ParsingSettings(folders(family), max_target=MOST, **SETTINGS[how])
    task = built(folders(family), **SETTINGS[how])
    settings.write(task, tmp_path)
    checkpoint.save(task.model.state_dict(), tmp_path / "model.safetensors")
    torch.manual_seed(1)
    again = settings.read(tmp_path)
    again.model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    again.model.eval()
    assert rows_of(written(again)) == rows_of(written(task)) and again.model.how == task.model.how
    losses = [forced_loss(one) for one in (task, again)]
    assert losses[0].item() == losses[1].item()
    for loss in losses:
        loss.backward()
    mine, other = ({n: p for n, p in one.model.named_parameters() if p.requires_grad} for one in (task, again))
    assert mine.keys() == other.keys()  # weights that were shared still are, and no others
    for name, parameter in mine.items():
        torch.testing.assert_close(parameter.grad, other[name].grad, msg=name)


TIES = {"t5": [0, 0, 0, 0], "flan": [0, 1, 0, 0], "mt5": [0, 1, 0, 0], "codet5": [0, 0, 0, 0]}


@pytest.mark.parametrize("how", ["as it is", "trimmed", "random"])
@pytest.mark.parametrize("family", TIES)
def test_only_the_first_t5_ties_and_scales_its_output(folders, family, how):
    inner = built(folders(family), **SETTINGS[how]).model.net.inner
    assert pretrained.owners(inner) == TIES[family]
    assert getattr(inner.config, "scale_decoder_outputs", False) == (TIES[family] == [0, 0, 0, 0])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_trimmed_away_changes_no_logit_of_the_rest(folders, family):
    whole, trimmed = built(folders(family)), built(folders(family), trim=True)
    kept = torch.from_numpy(trimmed.tokenizer.kept).long()
    assert len(kept) < whole.model.net.inner.config.vocab_size
    logits = []
    for task in (whole, trimmed):
        batch = task.train_batch(task.prepare(ROWS, "rows"), [0] * len(ROWS))
        with torch.no_grad():
            logits.append(task.model.net.forced(task.model.net.encode(batch["tokens"], batch["tokens_present"]), batch["said"]))
    torch.testing.assert_close(logits[1], logits[0][..., kept], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_fresh_weights_have_the_shapes_of_the_learned_and_other_values(folders, family):
    learned, fresh = (built(folders(family), seed=1, from_random=random, trim=True).model.state_dict() for random in (False, True))
    assert {k: v.shape for k, v in learned.items()} == {k: v.shape for k, v in fresh.items()}
    matrices = [k for k, v in learned.items() if v.ndim > 1 and "final_logits_bias" not in k and "embed_positions" not in k]
    assert len(matrices) > 20 and not [k for k in matrices if torch.equal(learned[k], fresh[k])]


def test_protein_models_lose_their_words_and_keep_their_blocks(folders, tmp_path):
    protein = tmp_path / "protein"
    protein.mkdir()
    with unheard():
        AutoModelForSeq2SeqLM.from_config(transformers.T5Config(vocab_size=28, **T5)).save_pretrained(protein)
    t5 = folders("t5")
    with pytest.raises(BadUsage, match="fresh_embeddings"):
        built(str(protein), tokenizer=t5)
    task = built(str(protein), tokenizer=t5, fresh_embeddings=True, max_target=20)
    assert task.tokenizer.decode(task.prepare(SHORT, "rows")[1]["target"].tolist()) == ROWS[2]["label"]
    inner, before = task.model.net.inner, load_file(protein / "model.safetensors")
    assert pretrained.owners(inner) == [0, 1, 0, 3] and not inner.config.scale_decoder_outputs
    for name, value in inner.state_dict().items():
        if ".block." in name or "layer_norm" in name:
            assert torch.equal(value, before[name])
    std = [table.weight.std().item() for table in pretrained.tables(inner)]
    assert std == pytest.approx([1.0, 32**-0.5 / 3**0.5, 1.0, 1.0], rel=0.1)  # torch's normal and uniform
    check_task(task, SHORT)


@pytest.mark.parametrize("family", ["t5", "marian", "mbart"])
def test_a_vocabulary_of_words_may_stand_in_for_pieces(folders, family):
    task = built(folders(family), tokenizer="words", from_random=True, max_target=8)
    assert [len(row["target"]) for row in task.prepare(ROWS, "rows")] == [3, 4, 2, 8]
    words = set(task.tokenizer.vocabulary)
    assert {word for p in task.predict(written(task), {}) for word in p["text"].split()} <= words
    assert [len(table.weight) for table in pretrained.tables(task.model.net.inner)] == [len(words)] * 4
    assert forced_loss(task).isfinite()
    with pytest.raises(BadUsage, match="from_random"):
        built(folders(family), tokenizer="words")


def test_a_target_longer_than_the_model_has_places_is_refused(folders):
    task = built(folders("bart"), max_target=1000, max_source=1000)
    assert (task.settings.max_source, task.settings.max_target) == (2 * MOST, 2 * MOST)
    long = {"id": "file.tsv:7", "text": "jump " * 200, "label": "I_JUMP " * 200}
    with pytest.raises(BadData, match=rf"file.tsv:7.*{2 * MOST}"):
        task.prepare([long], "file")
    assert task.prepare([{**long, "label": "I_JUMP"}], "file")[0]["truncated"]
    written(task, [{"id": "1", "text": long["text"]}])


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_model_that_only_reads_or_only_writes_is_refused_in_a_line(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(BadData, match=f"{kind} is no encoder-decoder") as told:
        built(str(tmp_path))
    assert "\n" not in str(told.value) and told.value.exit_status == 3


def test_a_model_that_cannot_be_had_is_refused_in_a_line():
    with pytest.raises(BadData, match="nobody/nothing") as told:
        built("nobody/nothing")
    assert "\n" not in str(told.value) and told.value.exit_status == 3


def test_weights_that_lack_the_decoder_are_refused_by_name(folders, tmp_path):
    made("t5", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if not k.startswith("decoder")}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadData, match=r"lack decoder\.block\.0"):
        built(str(tmp_path))


def test_a_folder_without_a_tokenizer_is_refused_in_a_line(folders, tmp_path):
    for file in ("config.json", "model.safetensors"):
        shutil.copy(f"{folders('t5')}/{file}", tmp_path)
    with pytest.raises(BadData, match=r"tokenizer .* has no pieces") as told:
        built(str(tmp_path))
    assert "\n" not in str(told.value)


def test_a_configuration_is_read_as_it_was_kept(folders, tmp_path):
    inner = built(folders("flan")).model.net.inner
    pretrained.write_config(inner, tmp_path)
    config = load_config(str(tmp_path), None)
    assert config.scale_decoder_outputs is False and config.untied_output
