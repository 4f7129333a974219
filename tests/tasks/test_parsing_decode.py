import itertools

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, BartConfig, MarianConfig, T5Config

from pellucid.nn.language import unheard
from pellucid.tasks.parsing.decode import Writing, beam, greedy
from pellucid.tasks.parsing.pretrained import Pretrained
from pellucid.tasks.parsing.recurrent import Recurrent

MOST, PIECES = 10, 24
SIZES = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 32, "init_std": 0.6}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "initializer_factor": 2.0, "decoder_start_token_id": 0}
CONFIGS = {
    "t5": T5Config(vocab_size=PIECES, **T5),
    "bart": BartConfig(vocab_size=PIECES, forced_eos_token_id=None, **SIZES, **HEADS),
    "marian": MarianConfig(
        vocab_size=PIECES,
        pad_token_id=PIECES - 1,
        decoder_start_token_id=PIECES - 1,
        eos_token_id=0,
        forced_eos_token_id=None,
        **SIZES,
        **HEADS,
    ),
}


def a_model(kind, seed):
    """A random model, ten texts of different lengths, and as the end the id that it writes most often."""
    torch.manual_seed(seed)
    with unheard():
        inner = AutoModelForSeq2SeqLM.from_config(CONFIGS[kind]).eval()
    start, pad = inner.config.decoder_start_token_id, inner.config.pad_token_id
    present = torch.arange(7) < torch.tensor([7, 5, 3, 7, 2, 4, 6, 1, 5, 7])[:, None]
    tokens = torch.randint(4, PIECES - 1, (10, 7)).where(present, pad)
    free = Pretrained(inner, start, -1, pad)
    ids = greedy(free, free.encode(tokens, present), len(tokens), MOST, tokens.device)[0]
    end = int(ids[ids != pad].mode()[0])
    return Pretrained(inner, start, end, pad), tokens, present


def written(net, tokens, present, how):
    find = beam if how.beams > 1 else greedy
    with torch.no_grad():
        return find(net, net.encode(tokens, present), len(tokens), MOST, tokens.device, how)


def generated(net, tokens, present, **how):
    """What transformers itself writes, without the start and up to the end."""
    more = {"max_new_tokens": MOST, "do_sample": False, "eos_token_id": net.end_id, "forced_eos_token_id": None}
    with unheard():
        found = net.inner.generate(tokens, attention_mask=present.long(), **more | how)
    return [cut(row, net.end_id) for row in found[:, 1:].tolist()]


def cut(row, end):
    return row[: row.index(end) + 1] if end in row else row


def rows_of(found):
    return [ids[here].tolist() for ids, here in zip(found[0], found[1], strict=True)]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize(
    ("beams", "more"),
    [(1, {}), (4, {}), (4, {"length_penalty": 0.0}), (3, {"length_penalty": 2.0}), (2, {"length_penalty": -1.0}), (4, {"early": True})],
)
def test_the_tokens_are_those_of_transformers_generate(kind, beams, more):
    net, tokens, present = a_model(kind, seed=1)
    theirs = {"early_stopping" if key == "early" else key: value for key, value in more.items()} if beams > 1 else {}
    found = rows_of(written(net, tokens, present, Writing(beams, **more)))
    assert found == generated(net, tokens, present, num_beams=beams, **theirs)
    assert min(map(len, found)) < MOST or more.get("length_penalty", 0.0) > 1.0  # some end before they must


@pytest.mark.parametrize("beams", [1, 3])
def test_banned_and_forced_tokens_are_those_of_transformers_generate(beams):
    net, tokens, present = a_model("marian", seed=2)
    plain = rows_of(written(net, tokens, present, Writing(beams)))
    ban = next(i for i in itertools.chain(*plain) if i != net.end_id)
    how = Writing(beams, banned=(ban, net.pad_id), first=5, last=9, renormalise=True)
    rules = {"bad_words_ids": [[ban], [net.pad_id]], "forced_bos_token_id": 5, "forced_eos_token_id": 9, "renormalize_logits": True}
    found = rows_of(written(net, tokens, present, how))
    assert found == generated(net, tokens, present, num_beams=beams, **rules)
    assert {row[0] for row in found} == {5} and {row[-1] for row in found if len(row) == MOST} == {9}
    assert ban not in itertools.chain(*found) and ban in itertools.chain(*plain)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("how", [Writing(), Writing(4), Writing(4, banned=(5, 6, 7), first=8)])
def test_each_token_has_the_log_probability_of_a_forced_pass(kind, how):
    net, tokens, present = a_model(kind, seed=3)
    said, here, log_probs = written(net, tokens, present, how)
    with torch.no_grad():
        forced = net.forced(net.encode(tokens, present), said).log_softmax(-1).gather(2, said[..., None])[..., 0]
    torch.testing.assert_close(log_probs, forced * here, atol=2e-4, rtol=0)


def test_a_search_with_one_beam_is_greedy():
    net, tokens, present = a_model("t5", seed=4)
    state = net.encode(tokens, present)
    one = beam(net, state, len(tokens), MOST, tokens.device, Writing(1))
    for mine, other in zip(one, greedy(net, net.encode(tokens, present), len(tokens), MOST, tokens.device), strict=True):
        torch.testing.assert_close(mine, other)


def test_a_text_alone_is_written_as_among_others():
    net, tokens, present = a_model("t5", seed=5)
    together = rows_of(written(net, tokens, present, Writing(4)))
    alone = [rows_of(written(net, tokens[i : i + 1], present[i : i + 1], Writing(4)))[0] for i in range(len(tokens))]
    assert alone == together


def every_sequence(pieces, end, most):
    """All that can be written: up to the end token, or as long as it may be without one."""
    for length in range(1, most + 1):
        for ids in itertools.product(range(pieces), repeat=length):
            if end not in ids[:-1] and (ids[-1] == end or length == most):
                yield ids


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_beams_enough_for_all_find_the_best_of_all_sequences(penalty):
    torch.manual_seed(6)
    net = Recurrent(9, 4, width=8, layers=1, dropout=0.0, start_id=1, end_id=2, pad_id=0).eval()
    with torch.no_grad():
        net.readout.weight.mul_(8)
    tokens = torch.tensor([[3, 4, 5], [6, 7, 3]])
    present = torch.ones(2, 3, dtype=torch.bool)
    sequences = list(every_sequence(4, net.end_id, 4))
    with torch.no_grad():
        state = net.encode(tokens, present)
        found = beam(net, state, 2, 4, tokens.device, Writing(128, length_penalty=penalty))
        for row, ids in enumerate(rows_of(found)):
            here = net.select(state, torch.tensor([row]))
            totals = {}
            for one in sequences:
                said = torch.tensor([one])
                own = net.forced(here, said).log_softmax(-1).gather(2, said[..., None]).sum().item()
                totals[one] = own / len(one) ** penalty
            assert tuple(ids) == max(totals, key=totals.get)
            assert found[2][row].sum().item() / len(ids) ** penalty == pytest.approx(max(totals.values()), abs=1e-5)
