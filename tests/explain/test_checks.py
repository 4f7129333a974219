"""The table of checks: one call for all, the same numbers as each check alone and in any batch, no forward twice."""

import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.explain.attribution import Statistics, baseline
from pellucid.explain.checks import CHECKS, Again, Case, check_case, default_checks, run_checks, summary
from pellucid.explain.degrade import degradation, on_scale
from pellucid.explain.faithful import infidelity
from pellucid.explain.gradient import gradient_x_input
from pellucid.explain.perturb import occlusion
from pellucid.explain.probe import Probe, ask
from pellucid.explain.remove import Removal
from pellucid.explain.sanity import Setting
from toys import Pictures, Sentences, linear_probe, pictures, sentences

METHODS = {
    "gradient": lambda probe, statistics, seed: gradient_x_input(probe),
    "occlusion": lambda probe, statistics, seed: occlusion(probe, baseline(probe)),
}


def case_of(task, examples, site="input"):
    batch = task.collate(examples)
    probe = ask(task, batch, site)
    relevances = {name: method(probe, None, 0).relevance for name, method in METHODS.items()}
    again = Again(METHODS, Setting(task, batch, site, probe.answer, lambda: None))
    return Case(probe, relevances, baseline(probe), 0, task.score_unit, again)


def test_every_check_gives_an_example_the_same_number_in_any_batch():
    task = Sentences()
    names = [name for name, check in CHECKS.items() if check.needs != "cut"]
    many, one = (check_case(case_of(task, some), names) for some in (sentences(), sentences()[2:3]))
    for method in METHODS:
        assert list(many[method]) == names
        for name in names:
            assert many[method][name].shape == (4,)
            torch.testing.assert_close(many[method][name][2], one[method][name][0], rtol=1e-3, atol=1e-4, msg=name)


def test_the_table_gives_what_each_check_gives_alone():
    task = Pictures()
    case = case_of(task, pictures(), "body")
    found = check_case(case)
    alone = degradation(on_scale(case.probe, task.score_unit), case.relevances["gradient"], case.baseline)
    torch.testing.assert_close(found["gradient"]["replacement"], alone.area)
    torch.testing.assert_close(found["gradient"]["above_random"], alone.area - alone.random_area)
    torch.testing.assert_close(found["gradient"]["deletion_auc"], alone.deletion())
    torch.testing.assert_close(found["gradient"]["agreement"], found["occlusion"]["agreement"])
    sums = infidelity(Removal(case.probe, case.baseline), case.relevances)  # of the score itself, not of its probability
    torch.testing.assert_close(check_case(case, ["infidelity"])["occlusion"]["infidelity"], sums["occlusion"], rtol=1e-3, atol=0)


def test_the_true_parts_of_a_linear_score_pass_every_check():
    weights, units = torch.randn(8, 1), torch.ones(3, 8, 1)
    probe = linear_probe(weights, units)
    found = run_checks(
        probe,
        {"truth": weights.T.repeat(3, 1), "opposite": -weights.T.repeat(3, 1)},
        0 * units,
        names=["replacement", "completeness", "infidelity", "comprehensiveness", "sufficiency", "agreement"],
    )
    truth, opposite = found["truth"], found["opposite"]
    assert (truth["replacement"] > 0).all()
    torch.testing.assert_close(truth["replacement"], -opposite["replacement"])
    torch.testing.assert_close(truth["completeness"], torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(opposite["completeness"], torch.full((3,), 2.0))
    torch.testing.assert_close(truth["infidelity"], torch.zeros(3), atol=1e-9, rtol=0)
    assert (truth["comprehensiveness"] > opposite["comprehensiveness"]).all()
    assert (truth["sufficiency"] < opposite["sufficiency"]).all()
    assert truth["agreement"].tolist() == [-1.0] * 3


def test_no_set_of_words_goes_through_the_model_twice():
    weights, units = torch.rand(6, 1), torch.ones(1, 6, 1)
    probe = linear_probe(weights, units)
    seen = []

    def score(some):
        seen.extend(map(tuple, some[..., 0].tolist()))
        return probe.score(some)

    watched = Probe(units, probe.present, score, probe.answer)
    maps = {"one": torch.rand(1, 6), "two": torch.rand(1, 6)}
    run_checks(
        watched, maps, 0 * units, names=["replacement", "deletion_auc", "insertion_auc", "comprehensiveness", "sufficiency", "infidelity"]
    )
    assert len(seen) == len(set(seen))


def test_the_cheap_checks_are_those_that_the_site_allows():
    probe = linear_probe(torch.rand(4, 1), torch.ones(2, 4, 1))
    one = Case(probe, {"one": torch.rand(2, 4)}, 0 * probe.units)
    assert default_checks(one) == ("replacement", "above_random", "deletion_auc", "insertion_auc", "comprehensiveness", "sufficiency")
    assert list(check_case(one)["one"]) == list(default_checks(one))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deletoin", "did you mean 'deletion'"),
        ("deletion", "cannot be taken out"),
        ("agreement", "compares methods"),
        ("randomised_weights", "explains anew"),
    ],
)
def test_a_check_that_cannot_be_run_says_why(name, said):
    probe = linear_probe(torch.rand(4, 1), torch.ones(2, 4, 1))
    with pytest.raises(BadUsage, match=said):
        run_checks(probe, {"one": torch.rand(2, 4)}, 0 * probe.units, names=[name])


def test_statistics_are_taken_anew_for_random_weights():
    task, counted = Pictures(), []
    case = case_of(task, pictures(2))
    before = task.model.head.weight.clone()

    def statistics():
        counted.append(torch.equal(before, task.model.head.weight))
        return Statistics(torch.zeros(3), torch.ones(3))

    setting = Setting(task, case.again.setting.batch, "input", case.probe.answer, statistics)
    again = Case(case.probe, case.relevances, case.baseline, 0, task.score_unit, Again(METHODS, setting))
    check_case(again, ["max_sensitivity", "randomised_weights"])
    assert counted == [True, False]


def test_a_summary_of_a_check_has_an_interval():
    probe = linear_probe(torch.rand(5, 1), torch.ones(30, 5, 1))
    found = summary(run_checks(probe, {"a": torch.rand(30, 5)}, 0 * probe.units)["a"]["replacement"])
    assert found["low"] < found["mean"] < found["high"] and found["n"] == 30
