"""What a run keeps of the sequences that it wrote, for its page."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid import parses, showing
from pellucid.data.cogs_kinds import KINDS
from pellucid.evaluate import Evaluation
from pellucid.metrics.sequences import wilson
from pellucid.report import read, records
from toy_detection import Detector

END = 1
VOCABULARY: dict[str, int] = {}


def ids(words):
    return [VOCABULARY.setdefault(word, len(VOCABULARY) + 2) for word in words.split()]


def written(label, said, end=True, score=-1.0, **more):
    """An example and what was made of it."""
    example = {"label": label, "text": f"say {label}", "target": np.array([*ids(label), END], np.int32), **more}
    return example, {"text": said, "tokens": ids(said) + [END] * end, "answers": []}, score


def found(*rows):
    examples = [{"id": f"gen.tsv:{i + 1}"} | row[0] for i, row in enumerate(rows)]
    return Evaluation({}, {}, [row[1] for row in rows], np.array([row[2] for row in rows]), "log-probability", examples=examples)


def one(*rows):
    return parses.parses({"gen": found(*rows)})["sets"]["gen"]


def right(label="a b", **more):
    return written(label, label, **more)


def wrong(label="a b", said="a c", **more):
    return written(label, said, **more)


def shares(counted):
    return {key: (value["right"], value["n"]) for key, value in counted.items()}


def test_right_ones_are_counted_over_all_and_by_category_with_their_interval():
    told = one(right(category="x"), right(category="y"), wrong(category="x"), right())
    assert (told["right"], told["n"], told["low"], told["high"]) == (3, 4, *wilson(3, 4))
    assert shares(told["categories"]) == {"x": (1, 2), "y": (1, 1)}
    assert told["categories"]["x"]["low"] == wilson(1, 2)[0]


def test_depth_is_told_within_its_category():
    rows = [
        right(category="pp", depth=4),
        wrong(category="pp", depth=3),
        right(category="cp", depth=3),
        right(category="pp", depth=3),
        right(),
    ]
    depths = one(*rows)["depths"]
    assert {name: [(d["depth"], d["right"], d["n"]) for d in some] for name, some in depths.items()} == {
        "pp": [(3, 1, 2), (4, 1, 1)],
        "cp": [(3, 1, 1)],
    }


def test_means_count_each_kind_alike_and_leave_out_what_is_none_of_cogs():
    rows = [
        right(category="cp_recursion"),
        wrong(category="cp_recursion"),
        wrong(category="pp_recursion"),
        right(category="unacc_to_transitive"),
    ]
    rows += [right(category="in_distribution")] * 5
    groups = one(*rows)["groups"]
    assert groups["structural"] == {"mean": pytest.approx((0.5 + 0) / 2), "kinds": ["cp_recursion", "pp_recursion"]}
    assert groups["lexical"] == {"mean": 1, "kinds": ["unacc_to_transitive"]}
    assert groups["all"]["mean"] == pytest.approx((0.5 + 0 + 1) / 3)
    assert one(right(category="in_distribution"), right())["groups"] == {}


def test_the_groups_are_the_papers_21_kinds():
    assert {name: len(kinds) for name, kinds in parses.GROUPS.items()} == {"all": 21, "lexical": 18, "structural": 3}
    assert set(parses.GROUPS["lexical"]) | set(parses.GROUPS["structural"]) == set(KINDS)


def test_few_lengths_stand_by_themselves_and_many_in_round_bins():
    few = one(right("a b c"), wrong("a b c", "a"), right("a"))["lengths"]
    assert [(p["least"], p["most"], p["right"], p["n"]) for p in few] == [(1, 1, 1, 1), (3, 3, 1, 2)]
    apart = one(right("a " * 24), right("a " * 48))["lengths"]
    assert [(p["least"], p["most"]) for p in apart] == [(24, 24), (48, 48)]
    many = one(*(right(" ".join(["a"] * n)) for n in range(1, 49)))["lengths"]
    assert [(p["least"], p["most"]) for p in many] == [(5 * i + 1, 5 * i + 5) for i in range(10)]
    assert [p["n"] for p in many] == [5] * 9 + [3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=30))
def test_every_target_is_in_one_of_at_most_twelve_bins(lengths):
    rows = [parses._Row({}, [], ["a"] * n, True, "right", 0.0) for n in lengths]
    bins = parses._lengths(rows)
    assert len(bins) <= 12 and sum(part["n"] for part in bins) == len(lengths)
    for part in bins:
        assert part["n"] == sum(part["least"] <= max(n, 1) <= part["most"] for n in lengths)


@pytest.mark.parametrize(("shortest", "longest", "width"), [(1, 12, 1), (1, 13, 2), (24, 48, 5), (1, 120, 10), (3, 480, 50), (100, 112, 2)])
def test_the_width_of_bins_is_the_smallest_round_one_that_will_do(shortest, longest, width):
    assert parses.bin_width(shortest, longest) == width


def test_sets_of_a_kind_each_are_one_together_without_what_is_none_of_cogs():
    sets = {
        "home": found(right(category="in_distribution"), right(category="in_distribution")),
        "cp": found(wrong(category="cp_recursion", depth=3), wrong(category="cp_recursion", depth=4)),
        "passive": found(right(category="active_to_passive"), wrong(category="active_to_passive")),
        "scan": found(right()),
    }
    together = parses.parses(sets)["together"]
    assert together["sets"] == ["cp", "passive"] and (together["right"], together["n"]) == (1, 4)
    assert shares(together["categories"]) == {"cp_recursion": (0, 2), "active_to_passive": (1, 2)}
    assert {name: group["mean"] for name, group in together["groups"].items()} == {"all": 0.25, "lexical": 0.5, "structural": 0}
    assert [d["depth"] for d in together["depths"]["cp_recursion"]] == [3, 4]


def test_one_set_is_not_together_and_categories_of_others_are():
    gen = found(right(category="cp_recursion"), right(category="active_to_passive"))
    assert parses.parses({"home": found(right(category="in_distribution")), "gen": gen})["together"] is None
    assert parses.parses({"a": found(right()), "b": found(right())})["together"] is None
    mine = parses.parses(
        {"a": found(right(category="short")), "b": found(wrong(category="long"), right(category="short")), "c": found(right())}
    )
    assert mine["together"]["sets"] == ["a", "b"] and shares(mine["together"]["categories"]) == {"short": (2, 2), "long": (0, 1)}


def test_errors_are_counted_by_kind():
    told = one(
        right(),
        wrong("a b", "a"),
        wrong("look walk", "look run"),
        wrong("a b", "a b c"),
        wrong("a b", "a b b b", end=False),
        wrong("a b", ""),
    )
    assert told["errors"] == {"no end": 1, "cut short": 2, "too long": 1, "wrong order": 0, "wrong word": 1, "wrong structure": 0}
    assert sum(told["errors"].values()) + told["right"] == told["n"]


def test_an_error_is_kept_in_words_with_the_first_wrong_place():
    (kept,) = one(right(), wrong("look walk run", "look run run", score=-2.5, category="x"))["examples"]
    assert kept == {
        "id": "gen.tsv:2",
        "text": "say look walk run",
        "category": "x",
        "kind": "wrong word",
        "target": ["look", "walk", "run"],
        "made": ["look", "run", "run"],
        "more": 0,
        "first_wrong": 1,
        "score": -2.5,
    }


def test_an_output_without_end_is_kept_as_far_as_it_can_be_read():
    (kept,) = one(wrong("a b", "a b" + " b" * 500, end=False, score=float("nan")))["examples"]
    assert kept["kind"] == "no end" and kept["score"] is None
    assert len(kept["made"]) == 2 + parses.BEYOND and len(kept["made"]) + kept["more"] == 502


def test_examples_of_errors_are_from_all_over_the_set_and_all_categories():
    rows = [wrong(category=f"kind {i % 3}") if i % 2 else right(category=f"kind {i % 3}") for i in range(600)]
    kept = one(*rows)["examples"]
    assert len(kept) == parses.EXAMPLES
    assert [e["category"] for e in kept] == ["kind 1"] * 3 + ["kind 0"] * 3 + ["kind 2"] * 2  # in the order of their first errors
    places = [int(e["id"].split(":")[1]) for e in kept]
    assert places[:3] == [2, 200, 398] and len(set(places)) == 8
    apart = one(right("a " * 24), right("a " * 48))["lengths"]
    assert [(p["least"], p["most"]) for p in apart] == [(24, 24), (48, 48)]
    many = one(*(wrong(category=f"kind {i:02}") for i in range(24)))["examples"]
    assert [e["category"] for e in many] == [f"kind {i:02}" for i in range(0, 24, 3)]


def test_many_sets_keep_fewer_examples_each_and_never_none():
    sets = {f"set {i}": found(*[wrong()] * 20) for i in range(30)}
    assert {len(one["examples"]) for one in parses.parses(sets)["sets"].values()} == {parses.LEAST_EXAMPLES}


def test_what_a_tokenizer_loses_shows_in_the_numbers_by_ids_and_of_unknown_targets():
    example, made, score = written("{ a", "{ a", unknown=True)
    told = one((example, made | {"text": "<unk> a"}, score), right("b a", unknown=False), wrong())
    assert (told["right"], told["right_by_ids"], told["unknown"]) == (1, 2, 1)
    for row in (example,):
        del row["target"]
    assert one((example, made, score))["right_by_ids"] is None


def test_what_is_kept_is_what_the_page_reads():
    told = parses.parses({"a": found(right(category="x", depth=3), wrong(category="x")), "b": found(wrong(category="y"))})
    assert read.fitted(json.loads(json.dumps(told)), records.Parses, "parses.json") == told
    assert told["score_unit"] == "log-probability"


def test_other_predictions_are_no_parses_and_keep_nothing():
    labels = Evaluation({}, {}, ["positive"], np.zeros(1), "log-probability", examples=[{"id": "a", "label": "positive"}])
    assert parses.parses({"home": labels}) is None and parses.parses({}) is None
    assert parses.parses({"home": labels, "gen": found(right())})["sets"].keys() == {"gen"}


def test_a_run_keeps_what_there_is_to_show_under_its_name():
    assert showing.shown(Detector(), {"gen": found(right())}).keys() == {"parses"}
