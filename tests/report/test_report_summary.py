"""All examples together: which method is best at what, and which agree."""

import pytest

from pellucid.explain.checks import CHECKS
from pellucid.report import meanings, summary


def of(**means):
    """A summary of one check by method."""
    return {"n": 10, "checks": {m: {c: {"mean": v, "low": v, "high": v, "n": 10} for c, v in row.items()} for m, row in means.items()}}


def stars(found):
    return {name: [cell.best for cell in cells] for name, cells in summary.view(found).rows}


def test_the_best_mean_is_the_largest_the_smallest_or_the_nearest_to_nought():
    one = {"deletion": 0.4, "sufficiency": 0.3, "completeness": -0.1}
    two = {"deletion": 0.1, "sufficiency": -0.2, "completeness": 0.2}
    assert stars(of(iba=one, lime=two)) == {"IBA": [True, False, True], "LIME": [False, True, False]}


def test_agreement_has_no_best_and_one_method_beats_nobody():
    assert stars(of(iba={"agreement": 0.9}, lime={"agreement": 0.1})) == {"IBA": [False], "LIME": [False]}
    assert stars(of(iba={"deletion": 0.9})) == {"IBA": [False]}


def test_what_is_written_alike_is_equally_good():
    assert stars(of(iba={"deletion": 0.41203}, lime={"deletion": 0.41198}, occlusion={"deletion": 0.4})) == {
        "IBA": [True],
        "LIME": [True],
        "occlusion": [False],
    }


def test_random_numbers_do_not_win_by_being_quick():
    assert stars({"n": 1, "ms_per_example": {"iba": 50.0, "occlusion": 10.0, "random": 0.1}}) == {
        "IBA": [False],
        "occlusion": [True],
        "random": [False],
    }


def test_a_check_on_fewer_examples_says_on_how_many():
    found = of(iba={"deletion": 0.4}, lime={})
    found["checks"]["iba"]["deletion"]["n"] = 7
    (_, (cell,)), (_, (none,)) = summary.view(found).rows
    assert (cell.text, cell.interval, cell.title) == ("0.400", "[0.400, 0.400]", "7 of 10 examples")
    assert (none.text, none.title) == ("", "not checked")


def test_agreement_is_a_matrix_whose_missing_numbers_are_told():
    matrix = {"methods": ["iba", "lime", "random"], "spearman": [[1, 0.5, None], [0.5, 1, -0.25], [None, -0.25, 1]]}
    found = summary.view({"n": 3, "agreement": matrix})
    assert found.methods == ("IBA", "LIME", "random")
    assert [[p.text for p in row] for _, row in found.pairs] == [["", "0.50", "n/a"], ["0.50", "", "\u22120.25"], ["n/a", "\u22120.25", ""]]
    assert [(p.sign, p.alpha) for p in found.pairs[1][1]] == [("pos", 0.36), ("", 0.0), ("neg", 0.18)]


def test_the_matrix_takes_the_place_of_the_column():
    found = of(iba={"agreement": 0.9, "deletion": 1.0}, lime={"agreement": 0.9, "deletion": 0.5})
    assert [c.name for c in summary.view(found).columns] == ["agreement", "deletion"]
    found["agreement"] = {"methods": ["iba", "lime"], "spearman": [[1, 0.9], [0.9, 1]]}
    assert [c.name for c in summary.view(found).columns] == ["deletion"]


def test_nothing_to_tell_is_no_block():
    assert summary.view(None) is None
    assert summary.view({"n": 3}) is None


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_is_known_here_with_the_better_side_it_claims(name):
    about = CHECKS[name].about
    claimed = next((side for text, side in SIDES.items() if text in about), "")
    assert meanings.CHECKS[name].better == claimed


SIDES = {"larger is better": "larger", "above 0 is better": "larger", "smaller is better": "smaller", "near 0": "zero", "; 0 for": "zero"}


def test_no_check_is_known_that_does_not_exist():
    assert set(meanings.CHECKS) == set(CHECKS)


def test_a_check_of_a_later_version_is_shown_without_a_side():
    (found,) = meanings.line({"new_check": 0.25})
    assert (found.name, found.mark, found.value, found.title) == ("new check", "", "0.25", "")
