"""The page's section of written sequences: shares, depths, words one under another, nothing from strangers."""

import functools
import json
import re

import pytest
import report_run
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import BadData
from pellucid.metrics.sequences import first_wrong
from pellucid.report import page, parses, read

WORDS = st.lists(st.sampled_from(["a", "b", "(", ")"]), max_size=9)


def counted(right, n, **more):
    return {"n": n, "right": right, "low": right / n - 0.01, "high": right / n + 0.01, **more}


def kept(right=3, n=4, **more):
    """A set of a run that got most of it right."""
    error = {
        "id": "gen.tsv:7",
        "text": "Emma saw a cat .",
        "category": "cp_recursion",
        "kind": "wrong word",
        "target": ["cat", "(", "x", ")"],
        "made": ["dog", "(", "x", ")"],
        "score": -0.53,
    }
    return {
        **counted(right, n),
        "right_by_ids": right,
        "unknown": 0,
        "categories": {},
        "groups": {},
        "lengths": [counted(right, n, least=1, most=5)],
        "depths": {},
        "errors": {"cut short": 0, "wrong word": n - right},
        "examples": [error] if right < n else [],
        **more,
    }


@pytest.fixture
def folder(tmp_path):
    """A run that has measured nothing else."""
    (tmp_path / "results").mkdir()
    (tmp_path / "recipe.yaml").write_text(report_run.RECIPE)
    return tmp_path


def viewed(folder, sets, together=None):
    (folder / "results" / "parses.json").write_text(
        json.dumps({"score_unit": "log-probability", "sets": sets, "together": together}), encoding="utf-8"
    )
    return parses.view(read.read(folder))


def example(folder, target, made, **more):
    error = kept()["examples"][0] | {"target": target.split(), "made": made.split(), **more}
    ((_, _, (found,), _),) = viewed(folder, {"gen": kept(examples=[error])}).wrong
    return found


def columns(pairs):
    return [(pair.target, pair.made, pair.tone) for pair in pairs]


# ---- words one under another --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "made", "found"),
    [
        ("a b c", "a x c", ["aa", "bx", "cc"]),
        ("a b c", "a c", ["aa", "b-", "cc"]),
        ("a c", "a b c", ["aa", "-b", "cc"]),
        ("a b", "a b c", ["aa", "bb", "-c"]),
        ("a b", "", ["a-", "b-"]),
        ("a a b", "a b", ["aa", "a-", "bb"]),  # they part at the second a, though the last two words of both are alike
        ("a b c d", "b c d a", ["a-", "bb", "cc", "dd", "-a"]),
    ],
)
def test_words_are_aligned_with_the_fewest_changes(target, made, found):
    pairs = parses.aligned(target.split(), made.split())
    assert [f"{a or '-'}{b or '-'}" for a, b in pairs] == found


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS)
def test_an_alignment_holds_both_and_differs_first_where_they_part(target, made):
    pairs = parses.aligned(target, made)
    assert [a for a, _ in pairs if a is not None] == target and [b for _, b in pairs if b is not None] == made
    assert (None, None) not in pairs
    assert next((i for i, (a, b) in enumerate(pairs) if a != b), None) == first_wrong(target, made)


@settings(max_examples=60, deadline=None)
@given(WORDS, WORDS)
def test_an_alignment_changes_no_more_than_it_must(target, made):
    @functools.cache
    def distance(i, k):
        if i == len(target) or k == len(made):
            return len(target) - i + len(made) - k
        return min(distance(i + 1, k + 1) + (target[i] != made[k]), distance(i + 1, k) + 1, distance(i, k + 1) + 1)

    assert sum(a != b for a, b in parses.aligned(target, made)) == distance(0, 0)


def test_the_first_wrong_word_is_marked_in_both_and_told(folder):
    found = example(folder, "cat ( x ) AND y", "cat ( z ) AND w")
    assert columns(found.shown) == [
        ("cat", "cat", ""),
        ("(", "(", ""),
        ("x", "z", "first"),
        (")", ")", ""),
        ("AND", "AND", ""),
        ("y", "w", "off"),
    ]
    assert found.place == "word 3 of 6" and found.spoken.endswith("First wrong: word 3 of 6, z for x.")
    assert found.score == "log-probability \u22120.530" and not found.whole


@pytest.mark.parametrize(
    ("target", "made", "more", "column", "place"),
    [
        ("a b c", "a", {"kind": "cut short"}, ("b", "⟨end⟩", "first"), "word 2 of 3"),
        ("a", "a b c", {"kind": "too long"}, ("⟨end⟩", "b", "first"), "after the last of 1"),
        ("a b c", "", {"kind": "cut short"}, ("a", "⟨end⟩", "first"), "word 1 of 3"),
        ("a b c", "a", {"kind": "no end"}, ("b", "∅", "first"), "word 2 of 3"),  # its limit was reached
        ("a b c", "a c", {}, ("b", "∅", "first"), "word 2 of 3"),
    ],
)
def test_an_end_is_said_where_it_was_made_or_should_be(folder, target, made, more, column, place):
    found = example(folder, target, made, **more)
    assert column in columns(found.shown) and found.place == place
    assert [pair.tone for pair in found.shown].count("first") == 1


def test_a_gap_is_told_as_nothing(folder):
    assert example(folder, "a b c", "a c").spoken.endswith("First wrong: word 2 of 3, nothing for b.")


def test_of_a_long_output_the_words_around_the_first_wrong_one_are_shown_and_all_can_be(folder):
    target = ["a"] * 480
    made = [*target[:300], "b", *target[301:]]
    found = example(folder, " ".join(target), " ".join(made), more=37)
    assert (found.before, len(found.shown), found.after) == (300 - parses.BEFORE, parses.BEFORE + parses.AFTER, 180 - parses.AFTER)
    assert found.shown[parses.BEFORE].tone == "first" and len(found.whole) == 480 and found.more == "37"
    assert [pair for pair in found.whole if pair.tone] == [parses.Pair("a", "b", "first")]


# ---- shares -------------------------------------------------------------------------------------------------------

KINDS = {"unacc_to_transitive": counted(9, 10), "active_to_passive": counted(10, 10), "cp_recursion": counted(1, 10)}
GROUPS = {
    "all": {"mean": 2 / 3, "kinds": list(KINDS)},
    "lexical": {"mean": 0.95, "kinds": ["active_to_passive", "unacc_to_transitive"]},
    "structural": {"mean": 0.1, "kinds": ["cp_recursion"]},
}


def test_categories_stand_in_their_groups_the_best_first_and_each_once(folder):
    sets = {"gen": kept(20, 30, categories={"in_distribution": counted(4, 5)} | KINDS, groups=GROUPS)}
    (scope,) = viewed(folder, sets).scopes
    assert [(heading, [bar.label for bar in bars]) for heading, bars in scope.categories.groups] == [
        ("Lexical: 2 kinds, mean 95.0%", ["active to passive", "unacc to transitive"]),
        ("Structural: 1 kind, mean 10.0%", ["cp recursion"]),
        ("Other", ["in distribution"]),
    ]
    bar = scope.categories.groups[0][1][1]
    assert (bar.value, bar.n, bar.width, bar.low, bar.reach) == ("90.0%", "10", 90, 89, 2)
    assert bar.title == "unacc to transitive: 9 of 10 right, [89.0, 91.0]"


def test_an_interval_beyond_the_scale_ends_with_it_and_none_of_no_examples(folder):
    sets = {"gen": kept(4, 4, categories={"a": counted(4, 4), "b": {"n": 0, "right": 0, "low": None, "high": float("nan")}})}
    (scope,) = viewed(folder, sets).scopes
    full, none = scope.categories.groups[0][1]
    assert full.low + full.reach == 100
    assert (none.value, none.width, none.reach, none.title) == ("n/a", None, 0, "b: 0 of 0 right")


def test_one_category_is_no_chart_and_its_means_no_column(folder):
    found = viewed(folder, {"cp": kept(1, 10, categories={"cp_recursion": counted(1, 10)}, groups={"all": GROUPS["structural"]})})
    assert found.scopes[0].categories is None and found.means == ()


def test_the_table_tells_shares_intervals_and_means(folder):
    found = viewed(folder, {"test": kept(1, 2), "gen": kept(20, 30, categories=KINDS, groups=GROUPS, right_by_ids=21, unknown=5)})
    test, gen = found.sets
    assert found.means == ("mean of kinds", "lexical", "structural")
    assert (gen.name, gen.n, gen.value, gen.interval, gen.by_ids, gen.unknown) == ("gen", "30", "66.7%", "[65.7, 67.7]", "70.0%", "5")
    assert gen.means == ("66.7%", "95.0%", "10.0%") and test.means == ("", "", "") and test.unknown == ""
    assert found.has_ids and found.has_unknown and not found.same_by_ids
    assert gen.errors == ("0", "10") and [kind for kind, _ in found.kinds] == ["cut short", "wrong word"]


def test_ids_that_say_the_same_have_a_sentence_and_no_column(folder):
    same = viewed(folder, {"gen": kept()})
    assert same.same_by_ids and not same.has_ids and not same.has_unknown
    unknown = viewed(folder, {"gen": kept(right_by_ids=None)})
    assert not unknown.same_by_ids and not unknown.has_ids


def of_kinds(num):
    sets = {f"kind {i}": kept(i, 20, categories={f"kind {i}": counted(i, 20)}) for i in range(num)}
    categories = {name: one["categories"][name] for name, one in sets.items()}
    right = sum(range(num))
    mean = {"all": {"mean": right / 20 / num, "kinds": list(categories)}}
    together = counted(right, 20 * num, sets=list(sets), categories=categories, groups=mean, lengths=[], depths={})
    return {"home": kept(9, 9)} | sets, together


def test_sets_of_a_kind_each_are_drawn_as_one(folder):
    sets, together = of_kinds(3)
    found = viewed(folder, sets, together)
    assert [scope.name for scope in found.scopes] == ["3 sets together", "home"]
    assert [bar.label for bar in found.scopes[0].categories.groups[0][1]] == ["kind 2", "kind 1", "kind 0"]
    assert [row.name for row in found.sets] == ["home", "kind 0", "kind 1", "kind 2", "3 sets together"] and not found.brief
    total = found.sets[-1]
    assert (total.value, total.n, total.errors) == ("5.0%", "60", ("0", "57"))


def test_sets_that_share_a_category_are_drawn_each(folder):
    sets, together = of_kinds(2)
    sets["kind 1"]["categories"]["kind 0"] = counted(1, 2)
    assert [scope.name for scope in viewed(folder, sets, together).scopes] == ["2 sets together", "home", "kind 0", "kind 1"]


def test_many_rows_are_folded_under_their_sum_and_what_is_not_in_it(folder):
    found = viewed(folder, *of_kinds(21))
    assert [row.name for row in found.brief] == ["home", "21 sets together"] and len(found.sets) == 22
    assert sum(opened for *_, opened in found.wrong) == 1


def test_depth_has_a_line_for_each_category_from_the_shares_of_its_depths(folder):
    depths = {
        "pp_recursion": [counted(8, 10, depth=3), counted(2, 10, depth=4)],
        "cp_recursion": [counted(0, 10, depth=3), counted(0, 10, depth=12)],
    }
    (scope,) = viewed(folder, {"gen": kept(depths=depths)}).scopes
    pp, cp = scope.depths.curves
    assert (pp.name, cp.name) == ("pp recursion", "cp recursion") and pp.style != cp.style
    assert [dot.title for dot in pp.dots] == ["pp recursion of depth 3: 80.0%", "pp recursion of depth 4: 20.0%"]
    bottom = scope.depths.frame.height - scope.depths.frame.bottom
    assert {dot.y for dot in cp.dots} == {bottom} and pp.dots[0].y < pp.dots[1].y < bottom
    assert pp.dots[0].x == cp.dots[0].x < pp.dots[1].x < cp.dots[1].x


# ---- the page -----------------------------------------------------------------------------------------------------


def rendered(folder):
    return page.render(read.read(folder))


def test_the_section_is_there_only_where_sequences_were_written(folder):
    assert 'id="parses"' not in rendered(folder)
    viewed(folder, {"gen": kept()})
    text = rendered(folder)
    assert text.count('id="parses"') == 1 and 'href="#parses"' in text and "What is wrong" in text


def test_words_of_strangers_are_escaped_wherever_they_stand(folder):
    evil = '<script>alert("1")</script>'
    error = kept()["examples"][0] | {"id": evil, "text": evil, "category": evil, "kind": evil, "target": [evil], "made": [evil + "x"]}
    depths = {evil: [counted(1, 2, depth=3)]}
    viewed(folder, {evil: kept(categories={evil: counted(1, 2), "b": counted(1, 2)}, examples=[error], errors={evil: 1}, depths=depths)})
    text = rendered(folder)
    assert "<script" not in text and text.count("&lt;script&gt;") > 10


def test_the_page_marks_one_word_of_each_error(folder):
    viewed(folder, {"gen": kept()})
    assert re.findall(r'<i class="first">(.*?)<b>(.*?)</b></i>', rendered(folder)) == [("cat", "dog")]


def test_a_perfect_run_has_no_errors_to_show(folder):
    found = viewed(folder, {"gen": kept(4, 4)})
    assert found.wrong == () and "What is wrong" not in rendered(folder)


def test_a_long_output_is_folded_in_the_page(folder):
    error = kept()["examples"][0] | {"target": ["a"] * 480, "made": ["b"] * 520}
    viewed(folder, {"gen": kept(examples=[error])})
    assert "<summary>All 520 words</summary>" in rendered(folder)


def test_a_file_that_holds_something_else_is_refused_by_field(folder):
    with pytest.raises(BadData, match=r"parses\.json: sets\.gen\.examples\[0\]\.made is \"dog\", expected a list"):
        viewed(folder, {"gen": kept(examples=[kept()["examples"][0] | {"made": "dog"}])})
