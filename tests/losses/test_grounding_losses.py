"""The losses of captions' words, boxes and answers: hand-worked values, and what must not matter."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from pellucid.losses.grounding import (
    Codes,
    Replies,
    alignment_loss,
    contrast_loss,
    final_loss,
    reply_accuracies,
    reply_amounts,
    reply_losses,
    soft_token_loss,
    word_amount,
    word_targets,
)
from pellucid.losses.matching import Costs, Matches, match, pair_costs
from pellucid.losses.set_prediction import Truth, box_losses

SLOTS, TOKENS, GQA = 12, 7, ("obj", "attr", "rel", "global", "cat")


def outputs(layers=2, examples=3, queries=6):
    return torch.randn(layers, examples, queries, SLOTS), torch.rand(layers, examples, queries, 4) * 0.4 + 0.2


def maps(*sizes):
    """Rows of a few words each, none of the last slot nor of a slot beyond the tokens."""
    found = [(torch.rand(n, SLOTS) < 0.4).float() for n in sizes]
    for rows in found:
        rows[:, 1], rows[:, TOKENS:] = 1, 0
    return found


def truth(*sizes):
    return Truth(maps(*sizes), [torch.rand(n, 4) * 0.4 + 0.2 for n in sizes])


def own_tokens(real):
    return [rows[:, :TOKENS] > 0 for rows in real.classes]


def codes(layers=2, examples=3, queries=6, tokens=TOKENS):
    return Codes(F.normalize(torch.randn(layers, examples, queries, 5), dim=-1), F.normalize(torch.randn(examples, tokens, 5), dim=-1))


def matched(logits, boxes, real):
    return match(logits, boxes, real.classes, real.boxes)


def pairs(*rows):
    return Matches(*torch.tensor(rows).reshape(-1, 4).T)


# ---- the match --------------------------------------------------------------------------------------------------------


def test_the_cost_of_words_is_the_missing_sum_of_their_probabilities():
    logits, boxes = outputs()
    real = truth(2, 0, 3)
    cost = pair_costs(logits, boxes, real.classes, real.boxes, Costs(3, 0, 0))
    rows, example = torch.cat(list(real.classes)), [0, 0, 2, 2, 2]
    for (t, j), layer in itertools.product(enumerate(example), range(2)):
        torch.testing.assert_close(cost[t, layer], -3 * (logits[layer, j].softmax(-1) * rows[t]).sum(-1))


def test_rows_of_one_word_are_matched_as_classes_are():
    logits, boxes = outputs()
    words = [torch.tensor([3, 0]), torch.zeros(0, dtype=torch.long), torch.tensor([1, 1, 5])]
    real = Truth([F.one_hot(w, SLOTS).float() for w in words], truth(2, 0, 3).boxes)
    by_rows, by_class = (pair_costs(logits, boxes, c, real.boxes, Costs()) for c in (real.classes, words))
    torch.testing.assert_close(by_rows, by_class)
    there, here = matched(logits, boxes, real), match(logits, boxes, words, real.boxes)
    assert all(torch.equal(getattr(there, name), getattr(here, name)) for name in ("layer", "example", "query", "target"))


def test_two_equal_boxes_go_to_the_queries_that_say_their_words():
    logits = torch.full((1, 1, 3, SLOTS), -9.0)
    logits[0, 0, 0, 4], logits[0, 0, 1, -1], logits[0, 0, 2, 2] = 9, 9, 9
    rows = torch.zeros(2, SLOTS)
    rows[0, 2], rows[1, 4] = 1, 1
    boxes = torch.full((1, 1, 3, 4), 0.5)
    found = match(logits, boxes, [rows], [boxes[0, 0, :2]])
    assert list(zip(found.query.tolist(), found.target.tolist(), strict=True)) == [(0, 1), (2, 0)]


# ---- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "words", "wanted"), [("binary", 1, 60.44243), ("binary", 3, 71.53279), ("uniform", 3, 60.44243)])
def test_words_of_which_nothing_is_known_cost_what_the_paper_says(kind, words, wanted):
    rows = torch.zeros(1, 256)
    rows[0, 4 : 4 + words] = 1
    real = Truth(word_targets([rows], kind), [torch.full((1, 4), 0.5)])
    found = soft_token_loss(torch.zeros(1, 1, 100, 256), real, pairs([0, 0, 17, 0]))
    assert float(found) == pytest.approx(wanted, rel=1e-6)  # (words + 0.1 * 99) ln 256


def test_the_best_that_a_query_can_say_of_three_words_costs_three_times_ln_three():
    rows = torch.zeros(1, SLOTS)
    rows[0, :3] = 1
    logits = torch.where(rows > 0, 50.0, -50.0).reshape(1, 1, 1, SLOTS)
    of_kind = {kind: Truth(word_targets([rows], kind), [torch.full((1, 4), 0.5)]) for kind in ("binary", "uniform")}
    found = {kind: float(soft_token_loss(logits, real, pairs([0, 0, 0, 0]))) for kind, real in of_kind.items()}
    assert found == {"binary": pytest.approx(3 * math.log(3)), "uniform": pytest.approx(math.log(3), rel=1e-5)}


def test_the_loss_of_words_is_that_of_the_layers_and_pictures_one_by_one():
    logits, boxes = outputs()
    real = truth(2, 0, 3)
    matches = matched(logits, boxes, real)
    found, log_probs = soft_token_loss(logits, real, matches, 0.3), logits.log_softmax(-1)
    target = F.one_hot(torch.full((2, 3, 6), SLOTS - 1), SLOTS) * 0.3
    for layer, j, q, t in zip(matches.layer, matches.example, matches.query, matches.target, strict=True):
        target[layer, j, q] = real.classes[j][t]
    torch.testing.assert_close(found, -(target * log_probs).sum((1, 2, 3)) / 5)


def test_an_object_without_words_asks_nothing_of_its_query():
    logits = torch.randn(1, 1, 1, SLOTS)
    real = Truth(word_targets([torch.zeros(1, SLOTS)], "uniform"), [torch.full((1, 4), 0.5)])
    assert float(soft_token_loss(logits, real, pairs([0, 0, 0, 0]))) == 0


@pytest.mark.parametrize("sizes", [(2, 1, 3), (2, 0, 3), (0, 0, 0)])
def test_losses_of_several_passes_add_up_by_their_amounts(sizes):
    logits, boxes = outputs()
    told, real = codes(), truth(*sizes)
    final = torch.randn(2, 3, 6)

    def losses(rows):
        part = Truth(real.classes[rows], real.boxes[rows])
        some, own = Codes(told.query[:, rows], told.token[rows], torch.ones(3, TOKENS, dtype=torch.bool)[rows]), own_tokens(part)
        matches, words = matched(logits[:, rows], boxes[:, rows], part), word_amount([len(b) for b in part.boxes])
        return {
            "ce": (soft_token_loss(logits[:, rows], part, matches, amount=words), words),
            "align": (alignment_loss(some, own, part, matches), part.num),
            "final": (final_loss(final[:, rows], [b[:, 0] > 0.4 for b in part.boxes], part, matches), part.num),
            "giou": (box_losses(boxes[:, rows], part, matches)["giou"], part.num),
        }

    whole, *passes = (losses(rows) for rows in (slice(3), slice(1), slice(1, 3)))
    for name, (value, amount) in whole.items():
        assert sum(one[name][1] for one in passes) == amount
        torch.testing.assert_close(sum(one[name][0] * one[name][1] for one in passes) / max(1, amount), value)


# ---- alignment --------------------------------------------------------------------------------------------------------


def one_by_one(told, own, matches, temperature):
    """The published formulas, pair by pair."""
    found = torch.zeros(len(told.query))
    for layer, j in itertools.product(range(len(told.query)), range(len(told.token))):
        scores = told.query[layer, j] @ told.token[j].T / temperature
        right = torch.zeros(scores.shape, dtype=torch.bool)
        for one, example, q, t in zip(matches.layer, matches.example, matches.query, matches.target, strict=True):
            if (one, example) == (layer, j):
                right[q] = own[j][t]
        for table, are in ((scores, right), (scores.T, right.T)):
            found[layer] += sum(row.logsumexp(0) - row[mine].mean() for row, mine in zip(table, are, strict=True) if mine.any())
    return found / 2 / sum(map(len, own))


def test_alignment_is_that_of_the_layers_and_pictures_one_by_one():
    logits, boxes = outputs()
    told, real = codes(), truth(2, 0, 3)
    matches = matched(logits, boxes, real)
    found = alignment_loss(told, own_tokens(real), real, matches, 0.2)
    torch.testing.assert_close(found, one_by_one(told, own_tokens(real), matches, 0.2), rtol=1e-4, atol=1e-5)


def test_codes_that_tell_nothing_apart_cost_the_logarithms_of_what_there_is():
    own = torch.zeros(2, TOKENS, dtype=torch.bool)
    own[0, 1:4], own[1, 3:5] = True, True  # two boxes, four tokens
    told = Codes(torch.ones(1, 1, 10, 1), torch.ones(1, TOKENS, 1))
    real = Truth([torch.ones(2, SLOTS)], [torch.rand(2, 4)])
    found = alignment_loss(told, [own], real, pairs([0, 0, 2, 1], [0, 0, 7, 0]))
    assert float(found) == pytest.approx((2 * math.log(TOKENS) + 4 * math.log(10)) / 2 / 2, rel=1e-5)


def test_padding_is_in_a_boxs_denominator_unless_it_is_masked():
    logits, boxes = outputs()
    real, told = truth(2, 1, 3), codes()
    matches = matched(logits, boxes, real)
    more = [F.pad(own, (0, 4)) for own in own_tokens(real)]
    token = torch.cat([told.token, F.normalize(torch.randn(3, 4, 5), dim=-1)], 1)
    present = (torch.arange(TOKENS + 4) < TOKENS).expand(3, -1)
    masked, counted = (alignment_loss(Codes(told.query, token, p), more, real, matches) for p in (present, None))
    short = alignment_loss(told, own_tokens(real), real, matches)
    torch.testing.assert_close(masked, short)
    assert (counted > short + 1e-3).all()


# ---- the whole caption ------------------------------------------------------------------------------------------------


def test_what_the_caption_asks_for_by_hand():
    final = torch.tensor([[[0.0, 2.0, 0.0], [-1.0, 5.0, 5.0]]])
    real = truth(2, 1)
    found = final_loss(final, [torch.tensor([1.0, 0.0]), torch.tensor([True])], real, pairs([0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]))
    assert float(found) == pytest.approx((math.log(2) + math.log1p(math.exp(-2)) + math.log1p(math.e)) / 3, rel=1e-6)


def test_pictures_find_their_captions_by_direction_alone():
    picture, caption = torch.tensor([[3.0, 0.0], [0.0, 5.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.2]])
    assert float(contrast_loss(picture, caption, 0.5)) == pytest.approx(math.log1p(math.exp(-2)), rel=1e-6)
    assert float(contrast_loss(picture, caption.flip(0), 0.5)) == pytest.approx(2 + math.log1p(math.exp(-2)), rel=1e-6)
    # both captions point at the first picture: it finds two, of captions one is wrong
    both = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    captions_side = (math.log1p(math.exp(-2)) + 2 + math.log1p(math.exp(-2))) / 2
    assert float(contrast_loss(picture, both, 0.5)) == pytest.approx((math.log(2) + captions_side) / 2, rel=1e-6)
    assert float(contrast_loss(picture[:1], caption[:1])) == pytest.approx(0, abs=1e-6)


# ---- answers ----------------------------------------------------------------------------------------------------------


def clevr():
    output = {"reply_type": torch.zeros(4, 3), "reply_binary": torch.tensor([2.0, -1.0, 9.0, 9.0])}
    output |= {"reply_attr": torch.zeros(4, 15), "reply_reg": torch.zeros(4, 20)}
    output["reply_type"][:, 0] = 1
    return output, Replies(("binary", "attr", "reg"), torch.tensor([0, 0, 2, -1]), torch.tensor([1, 1, 19, -1]))


def test_each_head_answers_for_the_questions_of_its_kind():
    output, replies = clevr()
    found = {name: float(value) for name, value in reply_losses(output, replies).items()}
    whole = math.log(math.e + 2)
    assert found["reply_type"] == pytest.approx((whole - 1 + whole - 1 + whole) / 3, rel=1e-6)
    assert found["reply_binary"] == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.e)) / 2, rel=1e-6)
    assert found["reply_reg"] == pytest.approx(math.log(20), rel=1e-6)
    assert found["reply_attr"] == 0
    assert reply_amounts(replies) == {"reply_type": 3, "reply_binary": 2, "reply_attr": 0, "reply_reg": 1}


def test_an_answer_is_right_if_its_kind_is_too():
    output, replies = clevr()
    output["reply_reg"][2, 19] = 1
    found = {name: float(value) for name, value in reply_accuracies(output, replies).items()}
    told = {"reply_type": 2 / 3, "reply_binary": 0.5, "reply_attr": 1.0, "reply_reg": 1.0, "reply_total": 1 / 3}
    assert found == pytest.approx(told)


def test_heads_of_gqa_are_means_over_their_own_questions():
    sizes = dict(zip(("type", *GQA), (5, 3, 403, 1594, 111, 678), strict=True))
    output = {f"reply_{name}": torch.randn(8, num) for name, num in sizes.items()}
    kind = torch.tensor([0, 1, 2, 2, 4, 4, 4, 1])
    replies = Replies(GQA, kind, torch.tensor([2, 400, 1593, 0, 677, 1, 2, 3]))
    found = reply_losses(output, replies)
    for i, name in enumerate(GQA):
        rows = kind == i
        wanted = F.cross_entropy(output[f"reply_{name}"][rows], replies.value[rows]) if rows.any() else torch.tensor(0.0)
        torch.testing.assert_close(found[f"reply_{name}"], wanted)
    torch.testing.assert_close(found["reply_type"], F.cross_entropy(output["reply_type"], kind))


def test_one_head_for_all_answers_needs_no_kind():
    output, value = {"reply_answer": torch.randn(3, 9)}, torch.tensor([8, 0, 4])
    found = reply_losses(output, Replies(("answer",), torch.zeros(3, dtype=torch.long), value))
    assert found.keys() == {"reply_answer"}
    torch.testing.assert_close(found["reply_answer"], F.cross_entropy(output["reply_answer"], value))


def test_a_head_that_is_missing_is_named():
    output, replies = clevr()
    del output["reply_attr"]
    with pytest.raises(KeyError, match="reply_attr"):
        reply_losses(output, replies)


# ---- gradients and precision ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(2, 0, 1), (0, 0, 0), (9, 1, 0)])
@pytest.mark.parametrize("tokens", [1, TOKENS])
def test_gradients_are_finite_and_there_for_any_number_of_boxes_and_tokens(sizes, tokens):
    logits, boxes = (o.requires_grad_() for o in outputs())
    query, token = torch.randn(2, 3, 6, 5, requires_grad=True), torch.randn(3, tokens, 5, requires_grad=True)
    final, real = torch.randn(2, 3, 6, requires_grad=True), truth(*sizes)
    matches = matched(logits, boxes, real)
    assert len(matches.query) == 2 * sum(min(n, 6) for n in sizes)
    present = torch.arange(tokens).expand(3, -1) < torch.tensor([[1], [tokens], [0]])
    own = [rows[:, :tokens] > 0 for rows in real.classes]
    told = Codes(F.normalize(query, dim=-1), F.normalize(token, dim=-1), present)
    parts = [soft_token_loss(logits, real, matches), alignment_loss(told, own, real, matches)]
    parts += [final_loss(final, [torch.ones(n) for n in sizes], real, matches), *box_losses(boxes, real, matches).values()]
    torch.stack(parts).sum().backward()
    for value in (logits, boxes, query, token, final):
        assert value.grad is not None
        assert value.grad.isfinite().all()
    assert logits.grad.any()


def test_heads_that_nobody_asks_get_gradients_of_nothing():
    output, replies = clevr()
    for value in output.values():
        value.requires_grad_()
    torch.stack(list(reply_losses(output, replies).values())).sum().backward()
    assert not output["reply_attr"].grad.any()
    assert not output["reply_reg"].grad[[0, 1, 3]].any()
    assert output["reply_reg"].grad[2].any()


def test_losses_and_matches_are_the_same_under_autocast():
    logits, boxes = outputs(1, 3, 40)
    real, told, both = truth(9, 8, 7), codes(1, 3, 40), (torch.randn(4, 16), torch.randn(4, 16))

    def run():
        matches, cost = matched(logits, boxes, real), pair_costs(logits, boxes, real.classes, real.boxes, Costs())
        return [
            cost,
            soft_token_loss(logits, real, matches),
            alignment_loss(told, own_tokens(real), real, matches),
            final_loss(logits[..., 0], [b[:, 0] > 0.4 for b in real.boxes], real, matches),
            contrast_loss(*both),
        ]

    plain = run()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = run()
    for one, other in zip(plain, half, strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one, other)


def test_half_precision_comes_out_in_32_bits_and_double_in_64():
    logits, boxes = outputs()
    real, told = truth(2, 0, 3), codes()
    for given, wanted in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        x, y, some = logits.to(given), boxes.to(given), Codes(told.query.to(given), told.token.to(given))
        matches = matched(x, y, real)
        found = [soft_token_loss(x, real, matches), alignment_loss(some, own_tokens(real), real, matches)]
        found += [final_loss(x[..., 0], [b[:, 0] > 0.4 for b in real.boxes], real, matches), contrast_loss(x[0, 0], x[0, 1])]
        assert {value.dtype for value in found} == {wanted}
