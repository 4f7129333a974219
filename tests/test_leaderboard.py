"""Any kind of method gets its score; an oracle the best, a blind one the worst; nothing is tuned on what is measured."""

import json

import numpy as np
import pytest

from pellucid import cli
from pellucid.data import functional
from pellucid.errors import BadUsage
from pellucid.explain.dependence import sets
from pellucid.explain.dependence.methods import NO_LEVEL, Answer
from pellucid.explain.dependence.trained import SELECTORS, Budget
from pellucid.leaderboard import board, entries, page, problem, score
from pellucid.leaderboard.problem import Form, FunctionalTask, in_form

PROBLEMS = functional.generated("multivariate", 6, seed=3)
PROTOCOL = score.Protocol(resamples=50)
MINE = '''
import numpy as np
import torch
from pellucid.explain.attribution import Attribution


def of_probe(probe, statistics, seed):
    units = probe.units.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(probe.score(units).sum(), units)
    return Attribution(gradient.norm(dim=-1).masked_fill(~probe.present, 0.0))


def attribute(model, inputs, target, baselines):
    assert baselines.shape == inputs.shape
    (gradient,) = torch.autograd.grad(model(inputs).gather(1, target[:, None]).sum(), inputs)
    return gradient


def explain(f, x, background):
    """Score lost when a column takes its mean."""
    assert background.shape == (100, len(x))
    moved = np.tile(x, (len(x), 1))
    np.fill_diagonal(moved, background.mean(0))
    return f(x[None]) - f(moved)


def oracle(task, x):
    i = int(np.abs(task.X - x).sum(1).argmin())
    return task.truth(i)[0]


def everything(task, x):
    return task.feature_names


def nothing(task, x):
    return [False] * len(x)


class Nearest:
    """Selects the columns in which the nearest draw of another label differs most."""

    def fit(self, sampler):
        self.points, self.labels = sampler(500, 0)

    def weights(self, points):
        found = []
        for x in points:
            near = np.abs(self.points - x).sum(1).argsort()
            other = self.points[near][self.labels[near] != self.labels[near[0]]][0]
            found.append(np.abs(other - x))
        return np.stack(found)


class First:
    def fit(self, sampler):
        self.columns = sampler(2, 0)[0].shape[1]

    def select(self, points):
        return [["x0"] for _ in points]


def unknown(a, b):
    return a


def wrong(f, x, background):
    return x[:1]


def outside(task, x):
    return [99]


class Empty:
    pass
'''


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


@pytest.fixture(scope="module")
def tasks():
    return in_form(PROBLEMS, Form())


def numbers(entry, tasks, protocol=PROTOCOL):
    row = score.score(entry, tasks[:3], tasks[3:], protocol)
    return {name: one["value"] for name, one in row["metrics"].items()}, row


def test_an_oracle_is_perfect_by_every_metric(mine, tasks):
    found, row = numbers(entries.entry(f"{mine}:oracle"), tasks)
    best = {"exact", "precision", "recall", "f1", "iou", "sound", "stability"}
    assert {name: found[name] for name in best} == dict.fromkeys(best, 1.0)
    assert found["gap"] == found["violates_monotone"] == 0
    assert row["level"] is None and found["top"] is None


def test_a_weighting_oracle_is_perfect_without_a_threshold_too(tasks):
    def answer(task, levels, seed):
        return entries.weighed(sets.member(task.truths.smallest[:, 0], task.X.shape[1]).astype(float), levels)

    found, row = numbers(entries.Entry("oracle", "set function", "", answer), tasks)
    assert found["exact"] == found["top"] == found["average_precision"] == 1
    assert row["level"] >= 0.8


def test_selecting_nothing_is_worth_nothing_and_everything_is_sound(mine, tasks):
    nothing, _ = numbers(entries.entry(f"{mine}:nothing"), tasks)
    assert nothing["exact"] == nothing["sound"] == nothing["f1"] == 0
    everything, _ = numbers(entries.entry(f"{mine}:everything"), tasks)
    assert everything["sound"] == everything["recall"] == 1
    whole = [np.mean(t.truths.size == t.X.shape[1]) for t in tasks[3:]]
    assert everything["exact"] == pytest.approx(np.mean(whole))


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        ("of_probe", "probe"),
        ("attribute", "captum"),
        ("explain", "black box"),
        ("oracle", "subset"),
        ("Nearest", "trained"),
        ("First", "trained"),
    ],
)
def test_the_form_of_a_method_is_told_by_its_parameters(mine, tasks, function, kind):
    entry = entries.entry(f"{mine}:{function}")
    found, _ = numbers(entry, tasks)
    assert entry.kind == kind
    assert 0 <= found["exact"] <= 1


def test_three_ways_to_ask_for_the_gradient_agree(mine, tasks):
    task, levels = tasks[4], np.array([0.7])
    by_probe = entries.entry(f"{mine}:of_probe").answer(task, levels, 0)
    by_model = entries.entry(f"{mine}:attribute").answer(task, levels, 0)
    by_game = entries.entry("game:gradient").answer(task, levels, 0)
    assert np.allclose(np.abs(by_model.weights), by_probe.weights, rtol=1e-2, atol=1e-3)
    assert np.allclose(np.abs(by_game.weights), by_probe.weights, rtol=1e-2, atol=1e-3)


def test_captums_own_methods_work_unchanged(tasks):
    captum = pytest.importorskip("captum.attr")

    def attribute(model, inputs, target, baselines):
        return captum.IntegratedGradients(model).attribute(inputs, baselines=baselines, target=target, n_steps=50)

    given = entries.of_callable("captum", attribute).answer(tasks[3], np.array([0.5]), 0)
    ours = entries.entry("game:integrated_gradients").answer(tasks[3], np.array([0.5]), 0)
    assert np.allclose(np.abs(given.weights), np.abs(ours.weights), atol=0.02)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("unknown", r"unknown\(a, b\) has no known form"),
        ("wrong", "expected one number per column"),
        ("outside", "expected indices below"),
        ("Empty", "no selector"),
        ("abset", "no function 'abset'"),
    ],
)
def test_a_method_of_no_known_form_is_refused(mine, tasks, function, said):
    with pytest.raises(BadUsage, match=said):
        entries.entry(f"{mine}:{function}").answer(tasks[3], np.array([0.5]), 0)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(BadUsage, match="did you mean 'fanova'"):
        entries.entry("fanva")


@pytest.mark.parametrize("name", SELECTORS)
def test_a_trained_selector_finds_the_one_column_that_decides(name):
    rng = np.random.default_rng(0)

    def sampler(count, seed):
        points = np.random.default_rng(seed).normal(size=(count, 4))
        return points, (points[:, 2] > 0).astype(int)

    points = rng.normal(size=(30, 4))
    selector = SELECTORS[name](points, 2, 0, Budget(steps=120 if name == "l2x" else 300, batch_size=64, width=16))
    selector.adam.param_groups[0]["lr"] = 1e-2
    assert (selector.fit(sampler).weights(points).argmax(1) == 2).mean() > 0.9


def test_a_trained_selector_stops_when_its_selection_rests():
    calls = []

    def sampler(count, seed):
        calls.append(seed)
        return np.zeros((count, 2)), np.zeros(count, dtype=int)

    SELECTORS["l2x"](np.zeros((3, 2)), 2, 0, Budget(1000, 16, every=5, patience=3, after=2, width=8)).fit(sampler)
    assert len(calls) < 1000


def test_a_seed_decides_all_that_is_drawn(tasks):
    for name in ("iba", "lime_continuous", "random"):
        entry = entries.entry(name)
        one, again, other = (entry.answer(tasks[3], entry.levels, seed).weights for seed in (0, 0, 1))
        assert np.array_equal(one, again)
        assert not np.array_equal(one, other)


def test_the_level_never_sees_what_is_measured(tasks):
    """A method that is right at one level on tuning problems and at another on the measured ones gets no credit."""
    levels = np.array([0.2, 0.8])

    def answer(task, levels, seed):
        place = 0 if task in tasks[:3] else 1
        return Answer(np.where(np.arange(2)[:, None] == place, task.truths.smallest[:, 0], 0))

    row = score.score(entries.Entry("turncoat", "subset", "", answer, levels), tasks[:3], tasks[3:], PROTOCOL)
    assert row["level"] == 0.2
    assert row["metrics"]["exact"]["high"] == 0


def test_the_authors_protocol_takes_their_levels(tasks):
    protocol = score.Protocol(official=True, resamples=50)
    _, row = numbers(entries.of_game("gradient", "gradient", official=True), in_form(PROBLEMS, Form(official=True)), protocol)
    assert row["level"] == 0.7
    with pytest.raises(BadUsage, match="ship no level"):
        score.score(entries.entry("random"), tasks, tasks, protocol)


@pytest.mark.parametrize("embedding", ["tokens", "patches"])
def test_tokens_and_patches_hide_the_same_truth(embedding):
    """Occlusion of a column is that of its token or patch."""
    levels = np.array([0.9])
    plain, hidden = FunctionalTask(PROBLEMS[3]), FunctionalTask(PROBLEMS[3], Form(embedding=embedding))
    entry = entries.entry("occlusion")
    there, here = entry.answer(hidden, levels, 0).weights, entry.answer(plain, levels, 0).weights
    assert np.corrcoef(there.ravel(), here.ravel())[0, 1] > 0.9
    with pytest.raises(BadUsage, match="--embedding columns"):
        entries.of_callable("mine", lambda model, inputs, target, baselines: inputs).answer(hidden, levels, 0)


@pytest.mark.parametrize("embedding", ["columns", "tokens", "patches"])
def test_points_at_which_a_network_errs_do_not_count(embedding, monkeypatch):
    monkeypatch.setattr(problem, "FIT_DRAWS", 64)
    monkeypatch.setattr(problem, "FIT_STEPS", 200)
    task = FunctionalTask(PROBLEMS[0], Form("network", embedding))
    assert task.faithful.all() and len(task.X) > 1
    task.__dict__["faithful"] = np.arange(len(task.X)) == 0  # as if it were right at the first point alone
    right = np.where(np.arange(len(task.X)) == 0, task.truths.smallest[:, 0], 0)
    entry = entries.Entry("first", "subset", "", lambda t, levels, seed: Answer(right[None]), NO_LEVEL)
    assert score.gather(entry, NO_LEVEL, [task]).by_level["exact"].item() == 1


@pytest.mark.parametrize(("kind", "least"), [("classes", 0.8), ("value", 0.3)])
def test_more_classes_and_values_can_be_scored(kind, least):
    asked = board.Asked(("afchar", "random"), kind=kind, quick=True, protocol=PROTOCOL)
    found = board.problems(asked)
    assert {p.classes for p in found["multivariate"]} == {3 if kind == "classes" else 0}
    some = {name: in_form(problems[:10], Form()) for name, problems in found.items()}
    exact = [score.score(e, some["tuning"], some["multivariate"], PROTOCOL)["metrics"]["exact"]["value"] for e in board.chosen(asked)]
    assert exact[0] > max(least, exact[1])


def test_a_column_told_twice_and_dummies_keep_the_methods_that_know_conditionals_right():
    for kind in ("duplicated", "dummies"):
        asked = board.Asked(("fanova",), kind=kind, quick=True)
        some = in_form(board.problems(asked)["multivariate"][:5], Form())
        row = score.score(entries.entry("fanova"), some, some, PROTOCOL)
        assert row["metrics"]["exact"]["value"] > 0.6


def test_a_wider_mixture_has_a_truth_of_its_certainty():
    task = FunctionalTask(functional.blurred(PROBLEMS[1], 0.2), Form(certainty=0.6))
    sharp = FunctionalTask(PROBLEMS[1])
    assert (task.truths.size <= sharp.truths.size).all()
    ((_, game),) = task.games
    for i in range(len(task.X)):
        for mask in task.truths.sets_of(i):
            assert game.certainty[mask, i] >= 0.6


def test_asked_at_the_level_of_the_truth_fanova_is_the_truth():
    tasks = in_form([functional.blurred(p, 0.15) for p in PROBLEMS], Form(certainty=0.7))
    found = score.gather(entries.entry("fanova"), np.array([0.7]), tasks)
    assert np.nanmin(found.by_level["exact"]) == 1


def test_the_board_sorts_its_rows_and_says_who_was_left_out(tmp_path):
    asked = board.Asked(("random", "fanova", "attention_rollout"), quick=True, protocol=PROTOCOL)
    found = board.measure(asked)
    assert [row["name"] for row in found["rows"]] == ["fanova", "random", "attention_rollout"]
    board.write(found, tmp_path, "pellucid check-method x")
    told = json.loads((tmp_path / "functional.json").read_text())
    assert told["rows"][0]["metrics"]["exact"]["low"] <= told["rows"][0]["metrics"]["exact"]["value"]
    text, html = (tmp_path / "functional.md").read_text(), (tmp_path / "functional.html").read_text()
    assert text.index("| fanova") < text.index("| random")
    assert "attention_rollout: Exact does not offer" in text
    assert "http" not in html and "<script" not in html


def test_the_command_line_names_what_was_asked():
    asked = board.from_flags(method="iba,gam", quick=True, std=0.2, model="network")
    assert board.command(asked, "docs") == "pellucid check-method iba,gam --model network --std 0.2 --quick --write docs"
    for flags, said in (({"steps": 0}, "--steps 0"), ({"certainty": 2.0}, "--certainty 2.0"), ({"method": ","}, "no method")):
        with pytest.raises(BadUsage, match=said):
            board.from_flags(**flags)


def test_check_method_prints_promises_and_then_the_benchmark(mine, capsys):
    assert cli.main(["check-method", f"{mine}:of_probe", "--quick"]) == 0
    told = capsys.readouterr().out
    assert told.index("ok   padding gets exactly 0") < told.index("generated multivariate problems") < told.index("exact by |I*|")
    assert cli.main(["check-method", f"{mine}:nothing", "--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["promises"] == []
    assert found["benchmark"]["rows"][0]["metrics"]["exact"]["value"] == 0


def test_a_table_of_several_methods_lines_up(tasks):
    rows = [{**numbers(entries.entry(n), tasks)[1], "univariate": {}} for n in ("gam", "fanova")]
    sizes = {name: {"problems": 1, "points": 2} for name in functional.PUBLISHED}
    found = {"rows": rows, "sizes": sizes, "problems": "generated", "kind": "plain", "fidelity": None, "std": None, "determined": 1.0}
    lines = page.terminal({**found, "form": {"model": "exact", "embedding": "columns", "official": False, "certainty": None}}).split("\n")[
        1:
    ]
    assert len({len(line) for line in lines}) == 1
