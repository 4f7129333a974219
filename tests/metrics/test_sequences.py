"""Exact match by words and by ids, and kinds of errors, by hand; Wilson's interval against scipy."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from pellucid.errors import BadData
from pellucid.metrics.sequences import (
    KINDS,
    ended,
    error_kind,
    exact_match,
    exact_match_ids,
    first_wrong,
    macro,
    token_accuracy,
    wilson,
)
from pellucid.task import Metric

END, PAD, UNKNOWN = 1, 0, 2
ALL = [exact_match, exact_match_ids, token_accuracy]


def row(label, target, category=None):
    return {"id": "gen.tsv:7", "label": label, "target": np.array(target, np.int32)} | ({"category": category} if category else {})


def made(text, tokens):
    return {"text": text, "tokens": tokens, "answers": []}


def number(metric, prediction, example):
    metric.update(prediction, example)
    return metric.compute()


TARGET = row("walk walk", [7, 7, END])


@pytest.mark.parametrize(
    ("tokens", "exact", "share"),
    [
        ([7, 7, END], 1, 1),  # as it should be
        ([7, 7, END, PAD, PAD], 1, 1),  # wider: what follows the end does not count
        ([7, 7, END, 9, 9], 1, 1),
        ([7, 7], 0, 2 / 3),  # ran to its limit before the end
        ([7, 7, 9, END], 0, 2 / 3),  # goes on after the target: another id where the end is due
        ([7, 7, 7], 0, 2 / 3),
        ([7, END], 0, 1 / 3),  # stopped early, narrower
        ([7, END, PAD], 0, 1 / 3),
        ([7, 9, END], 0, 2 / 3),
        ([9, 7, 7, END], 0, 1 / 3),  # one too many in front: only the middle one stands where it should
        ([], 0, 0),
    ],
)
def test_ids_are_right_if_every_position_of_the_target_is_its_end_included(tokens, exact, share):
    assert number(exact_match_ids(), made("", tokens), TARGET) == exact
    assert number(token_accuracy(), made("", tokens), TARGET) == pytest.approx(share)
    assert number(exact_match_ids(), made("", np.array(tokens, np.int32)), TARGET) == exact


def test_blanks_do_not_count_and_words_do():
    for text, right in ((" walk\t walk \n", 1), ("walk", 0), ("walk walk walk", 0), ("walkwalk", 0), ("walk look", 0), ("", 0)):
        assert number(exact_match(), made(text, []), TARGET) == right
        assert number(exact_match(), text, TARGET) == right  # from another program
        assert number(exact_match(), text, row("walk  walk ", [7, 7, END])) == right


def test_text_alone_has_no_ids_and_what_is_no_text_is_refused_by_name():
    with pytest.raises(BadData, match=r"gen\.tsv:7.*no token ids"):
        exact_match_ids().update("walk walk", TARGET)
    with pytest.raises(BadData, match=r"gen\.tsv:7.*no token ids"):
        token_accuracy().update({"text": "walk walk"}, TARGET)
    for wrong in (3, {"tokens": [7, 7, END]}, None):
        with pytest.raises(BadData, match=r"gen\.tsv:7.*is no text"):
            exact_match().update(wrong, TARGET)
    with pytest.raises(BadData, match="whole numbers"):
        exact_match_ids().update(made("walk walk", [7.0, 7.0]), TARGET)
    with pytest.raises(BadData, match=r"target.*is empty"):
        exact_match_ids().update(made("", []), row("", []))
    with pytest.raises(ValueError, match="has no 'target'"):
        exact_match_ids().update(made("walk", [7]), {"id": "a", "label": "walk"})


def test_words_and_ids_agree_where_the_tokenizer_loses_nothing():
    words = {"walk": 7, "look": 8, "run": 9}
    by_words, by_ids = exact_match(), exact_match_ids()
    rng = np.random.default_rng(0)
    for _ in range(200):
        said, wanted = (" ".join(rng.choice(list(words), rng.integers(1, 4))) for _ in range(2))
        example = row(wanted, [*(words[w] for w in wanted.split()), END])
        for metric in (by_words, by_ids):
            metric.update(made(said, [*(words[w] for w in said.split()), END]), example)
    assert 0 < by_words.compute() < 1 and by_words.values == by_ids.values


def test_an_unknown_piece_on_both_sides_is_right_by_ids_and_wrong_by_words():
    example = row("{ walk", [UNKNOWN, 7, END])
    prediction = made("<unk> walk", [UNKNOWN, 7, END])
    assert number(exact_match_ids(), prediction, example) == 1 and number(exact_match(), prediction, example) == 0


def oracle(size=5):
    """All right, in three categories of the same size."""
    examples = [row(f"a{i} b c", [10 + i, 5, 6, END], f"kind {i % 3}") for i in range(3 * size)]
    return [made(e["label"], e["target"].tolist()) for e in examples], examples


def gathered(metric, predictions, examples):
    for prediction, example in zip(predictions, examples, strict=True):
        metric.update(prediction, example)
    return metric


@pytest.mark.parametrize("kind", ALL)
def test_the_oracle_is_right_and_a_swapped_token_costs_its_row_and_its_category_alone(kind):
    predictions, examples = oracle()
    assert gathered(kind(), predictions, examples).compute() == 1
    predictions[4] = made("a4 c c", [14, 6, 6, END])
    lost = 0.25 if kind is token_accuracy else 1
    metric = gathered(kind(), predictions, examples)
    assert metric.compute() == pytest.approx(1 - lost / 15)
    assert metric.per_category() == {"kind 0": (5, 5), "kind 1": (5 - lost, 5), "kind 2": (5, 5)}


def test_the_mean_over_categories_of_one_size_is_that_over_all():
    predictions, examples = oracle(20)
    for i in (0, 1, 3, 6, 17):
        predictions[i] = made("", [])
    metric = gathered(exact_match(), predictions, examples)
    assert macro(metric.per_category()) == pytest.approx(metric.compute()) == pytest.approx(55 / 60)
    assert macro(metric.per_category(), ["kind 0", "kind 1", "absent"]) == pytest.approx((17 / 20 + 19 / 20) / 2)
    assert math.isnan(macro({})) and math.isnan(macro(metric.per_category(), ["absent"]))


def test_without_categories_there_are_none():
    assert gathered(exact_match(), ["walk walk"], [TARGET]).per_category() == {}


@pytest.mark.parametrize("kind", ALL)
def test_merged_parts_and_rows_of_multiplicities_are_the_whole(kind):
    predictions, examples = oracle()
    for i in (0, 7, 11):
        predictions[i] = made("a0 b", [10, 5, END])
    whole, part, rest = (gathered(kind(), predictions[s], examples[s]) for s in (slice(None), slice(0, 4), slice(4, None)))
    part.merge(rest)
    assert part.compute() == pytest.approx(whole.compute(), abs=1e-12) and part.per_category() == whole.per_category()
    weights = np.random.default_rng(1).integers(0, 3, (4, 15)).astype(float)
    for multiplicities, value in zip(weights, whole.resample(weights), strict=True):
        rows = np.repeat(np.arange(15), multiplicities.astype(int))
        again = gathered(kind(), [predictions[i] for i in rows], [examples[i] for i in rows])
        assert value == pytest.approx(again.compute(), abs=1e-12)


@pytest.mark.parametrize("kind", ALL)
def test_a_sequence_metric_keeps_the_contract(kind):
    assert isinstance(kind(), Metric) and kind().higher_is_better and math.isnan(kind().compute())


# ---- kinds of errors ----------------------------------------------------------------------------------------------

LF = "* cat ( x _ 1 ) ; see . agent ( x _ 2 , x _ 1 ) AND see . theme ( x _ 2 , Emma )"


def swapped(**words):
    return " ".join(words.get(word, word) for word in LF.split())


@pytest.mark.parametrize(
    ("said", "end", "kind"),
    [
        (LF, True, "right"),
        (LF, False, "right"),  # the words are right: the limit fell behind the last
        (LF + " AND", False, "no end"),  # before too long
        ("", False, "no end"),
        ("", True, "cut short"),
        (LF[:30], True, "cut short"),
        (LF + " AND see", True, "too long"),
        ("see . theme ( x _ 2 , Emma ) ; * cat ( x _ 1 ) AND see . agent ( x _ 2 , x _ 1 )", True, "wrong order"),
        # the same words, but now it is another that sees
        ("* cat ( x _ 1 ) ; see . theme ( x _ 2 , x _ 1 ) AND see . agent ( x _ 2 , Emma )", True, "wrong structure"),
        # the same conjuncts, parted otherwise
        (LF.replace(" ; ", " AND "), True, "wrong structure"),
        (swapped(cat="dog"), True, "wrong word"),
        (swapped(cat="dog", Emma="Liam"), True, "wrong word"),
        (swapped(theme="recipient"), True, "wrong structure"),
        (swapped(**{"2": "3"}), True, "wrong structure"),
        (swapped(**{"2": "12"}), True, "wrong structure"),
        (swapped(Emma="x"), True, "wrong structure"),  # a variable for a name
        (swapped(**{"*": "the"}), True, "wrong structure"),
        (LF.replace("cat", "cat cat"), True, "wrong structure"),
    ],
)
def test_the_kind_of_an_error_is_the_first_that_holds(said, end, kind):
    assert error_kind(LF.split(), said.split(), end) == kind and kind in KINDS


def test_a_word_more_is_no_wrong_word():
    assert error_kind(["look", "look", "walk"], ["look", "walk"]) == "wrong structure"


def test_a_repeated_conjunct_is_no_other_order():
    twice, other = (["a", "b", "AND", "c", "d", "AND", "a", "b"], ["c", "d", "AND", "a", "b", "AND", "c", "d"])
    assert error_kind(twice, other) == "wrong structure"


def test_the_order_of_actions_matters():
    assert error_kind(["I_WALK", "I_JUMP"], ["I_JUMP", "I_WALK"]) == "wrong word"


@pytest.mark.parametrize(
    ("target", "said", "place"),
    [("a b c", "a b c", None), ("a b c", "a x c", 1), ("a b c", "a b", 2), ("a b", "a b c", 2), ("a", "", 0), ("", "", None)],
)
def test_the_first_wrong_word_is_where_they_part(target, said, place):
    assert first_wrong(target.split(), said.split()) == place


def test_an_output_has_ended_if_the_end_token_was_made():
    assert ended(made("", [7, END]), TARGET) and not ended(made("", [7, 7]), TARGET) and not ended(made("", []), TARGET)
    assert ended({"text": "walk"}, TARGET) and ended(made("", [7]), {"label": "walk"})  # nobody knows


def test_the_interval_is_wilsons():
    for right, n in ((0, 10), (10, 10), (3, 10), (842, 1000), (1, 1)):
        known = binomtest(right, n).proportion_ci(0.95, method="wilson")
        assert wilson(right, n) == pytest.approx((known.low, known.high), abs=1e-12)
    assert wilson(0, 3)[0] == 0 and wilson(10, 10)[1] == 1 and all(map(math.isnan, wilson(0, 0)))
