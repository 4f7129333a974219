import json
from dataclasses import replace

from pellucid import table
from pellucid.paper import LEFT_OUT, Cell, Table
from pellucid.recipe import Data, Recipe
from pellucid.table import Wanted, _jobs, _resplit, find, markdown


def row(model, seed, home, away):
    return {
        **{"group": "Sentiment", "train": "films", "model": model, "seed": seed, "metric": "accuracy", "home": "films"},
        **{
            "values": {"films": home, "goods": away},
            "sizes": {"films": 100, "goods": 50},
            "detection": {},
            "claims": {},
            "train_time_s": 1.0,
        },
    }


def told(*rows):
    return markdown({"title": "T", "notes": "", "rows": list(rows)})


def test_a_table_gives_mean_spread_and_drop_by_hand():
    lines = told(row("A", 0, 0.9, 0.8), row("A", 1, 0.8, 0.8), row("B", 0, 0.7, 0.4), row("B", 1, 0.7, 0.6))
    assert "| A | 85.0 ± 7.1 | 80.0 ± 0.0 | -5.0 ± 7.1 |" in lines
    assert "| B | 70.0 ± 0.0 | 50.0 ± 14.1 | -20.0 ± 14.1 |" in lines
    assert "A is best on every set and loses least away." in lines


def test_where_the_first_model_does_not_win_is_said():
    lines = told(row("A", 0, 0.9, 0.5), row("B", 0, 0.8, 0.6))
    assert "**Where A does not win:** B is better on goods (60.0 against 50.0); B loses less away (-20.0 against -40.0)." in lines


def test_a_model_with_fewer_seeds_says_so():
    assert "| B (1 of 2 seeds) |" in told(row("A", 0, 0.9, 0.8), row("A", 1, 0.8, 0.8), row("B", 0, 0.7, 0.4))


def test_a_model_that_draws_nothing_is_run_once_and_no_seed_is_missing():
    fixed = {**row("B", 0, 0.7, 0.4), "fixed": True}
    assert "| B | 70.0 | 40.0 | -30.0 |" in told(row("A", 0, 0.9, 0.8), row("A", 1, 0.8, 0.8), fixed)


def test_a_set_that_a_model_was_not_measured_on_stays_empty():
    other = row("B", 0, 0.7, 0.4)
    wider = {**row("A", 0, 0.9, 0.8), "values": {"films": 0.9, "goods": 0.8, "books": 0.6}, "sizes": {"films": 1, "goods": 1, "books": 1}}
    lines = told(wider, other)
    assert "| A | 90.0 | 80.0 | 60.0 | -20.0 |" in lines
    assert "| B | 70.0 | 40.0 |  | -30.0 |" in lines


def test_a_table_of_two_metrics_tells_each_of_the_cells_that_have_it(tmp_path, monkeypatch):
    def measured(*cells, metrics=()):
        monkeypatch.setattr(table, "find", lambda name: Table("T", cells, seeds=(0,), metrics=metrics))
        return table.measure("t", Wanted(runs=tmp_path), False, watch=print, say=print)

    def run_of(model, **metrics):
        results = tmp_path / "t" / f"films-{model}-0" / "results"
        results.mkdir(parents=True)
        told = {"films": {"n": 9, "calibration": None, "metrics": {name: {"value": value} for name, value in metrics.items()}}}
        (results / "shift.json").write_text(json.dumps({"home": "films", "sets": told}))
        (results / "environment.json").write_text('{"train_time_s": 1.0}')
        return Cell("Films", "films", model, Recipe(None, Data("films.csv")))

    cells = [run_of("both", AP=0.5, AR=0.9, mIoU=0.25), run_of("boxes", AP=0.375), run_of("map", mIoU=0.75)]
    first, second = markdown(measured(*cells, metrics=("AP", "mIoU"))).split("AP x 100")
    assert "| both | 50.0 |" in first and "| boxes | 37.5 |" in first and "map" not in first
    assert "| both | 25.0 |" in second and "| map | 75.0 |" in second and "boxes" not in second and "mIoU x 100" in second
    assert [row["metric"] for row in measured(cells[0])["rows"]] == ["AP"]


def test_sets_left_out_in_turn_are_told_together():
    rows = [
        {**row(model, seed, 0, 0), "train": f"all but {part}", "home": LEFT_OUT, "values": {LEFT_OUT: value}, "sizes": {LEFT_OUT: 9}}
        for model, seed, part, value in [("A", 0, "x", 0.9), ("A", 1, "x", 0.7), ("A", 0, "y", 0.5), ("A", 1, "y", 0.5), ("A", 0, "z", 0.2)]
    ]
    lines = told(*rows)
    assert "| A | 50.0 | 50.0 | 20.0 to 80.0 |" in lines  # of the splits' means 80, 50, 20


def test_each_seed_of_a_cell_that_is_split_anew_draws_its_parts():
    whole = Data("polarity:train")
    one = Recipe(None, replace(whole, part="train"), dev=replace(whole, part="dev"), tests={"a": replace(whole, part="test"), "b": whole})
    again = _resplit(one, 5)
    assert (again.train.seed, again.dev.seed, again.tests["a"].seed, again.tests["b"].seed) == (5, 5, 5, 0)


def test_the_table_of_quality_leaves_each_original_out_once_and_runs_classic_metrics_once():
    cells = find("vtamiq").cells
    left = [c for c in cells if LEFT_OUT in c.recipe.tests]
    sources = {c.recipe.tests[LEFT_OUT].source.partition("references=")[2] for c in left}
    assert len(sources) == 5
    assert all(f"without={c.recipe.tests[LEFT_OUT].source.partition('references=')[2]}" in c.recipe.train.source for c in left)
    assert sum(seed > 0 for c, seed in _jobs(find("vtamiq"), Wanted()) if c.fixed) == 0
    assert sum(1 for c, _ in _jobs(find("vtamiq"), Wanted()) if not c.fixed) == 3 * (2 + 5)
