"""The table of corruptions in a run's page."""

import json

import pytest
import report_run

from pellucid.report import number, page, read, sections, spoiled

ROWS = {
    "fog": {"values": {"1": 0.8, "2": 0.5}, "mean": 0.65, "error": 0.75},
    "jpeg_compression": {"values": {"1": 0.6, "2": 0.3}, "mean": 0.45},
}
FOUND = {"metric": "top1", "clean": 0.9, "kinds": ROWS, "mean": 0.55, "baseline": "AlexNet", "mce": 0.75, "relative_mce": 1.5}


@pytest.fixture
def run(tmp_path):
    return report_run.write_run(tmp_path / "run")


def with_corruption(run, found):
    path = run / "results" / "shift.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"corruption": found}))
    return read.read(run)


def test_kinds_by_severities_end_in_means_and_errors(run):
    view = spoiled.view(with_corruption(run, FOUND))
    assert view.columns == ("severity 1", "severity 2", "mean", "error / AlexNet")
    assert view.rows[0] == ("fog", ("80.0%", "50.0%", "65.0%", "0.750"))
    assert view.rows[1] == ("jpeg compression", ("60.0%", "30.0%", "45.0%", "n/a"))
    assert view.rows[2] == ("mean", ("70.0%", "40.0%", "55.0%", "0.750"))
    assert "AlexNet over the kinds and severities measured: 0.750 (relative 1.500)" in view.sentences[1]


def test_fifteen_kinds_are_told_of_pictures_alone(run):
    drops = {"frame_drop": ROWS["fog"]}
    for rows, words in ((ROWS, "over all 15 kinds and five severities"), (drops, "over all kinds and five severities")):
        view = spoiled.view(with_corruption(run, FOUND | {"kinds": rows, "complete": True}))
        assert words in view.sentences[1]


def test_without_a_baseline_there_is_no_column_of_errors(run):
    view = spoiled.view(with_corruption(run, FOUND | {"baseline": None, "mce": None, "relative_mce": None}))
    assert view.columns[-1] == "mean" and {len(cells) for _, cells in view.rows} == {3} and len(view.sentences) == 1


def test_runs_that_were_not_corrupted_have_no_table(run):
    assert spoiled.view(read.read(run)) is None
    assert spoiled.view(with_corruption(run, None)) is None
    assert "Corruptions" not in page.render(read.read(run))


def test_corrupted_sets_are_told_in_the_table_of_corruptions_alone(run):
    shift = json.loads((run / "results" / "shift.json").read_text())
    home = shift["home"]
    shift["sets"] |= {f"{home}/fog-{i}": shift["sets"][home] for i in range(40)}
    (run / "results" / "shift.json").write_text(json.dumps(shift))
    html = page.render(with_corruption(run, FOUND))
    assert f"{home}/fog-" not in html and "jpeg compression" in html and "<h3>Corruptions</h3>" in html


def test_each_kind_has_a_curve_from_home_on_without_what_could_not_be_measured(run):
    kinds = ROWS | {"negation": {"values": {"1": 0.7, "2": None}, "mean": 0.7}}
    fog, _, negation = spoiled.view(with_corruption(run, FOUND | {"kinds": kinds})).curves
    assert fog.title == "fog" and fog.desc.endswith(" 0.900 at home, 0.500 at severity 2.")
    home, one, two = fog.curves[1].dots
    assert [dot.title for dot in (home, one, two)] == ["home", "severity 1: 0.800", "severity 2: 0.500"]
    assert home.y < one.y < two.y and two.y - one.y == pytest.approx(3 * (one.y - home.y), abs=0.3)
    assert [dot.title for dot in negation.curves[1].dots] == ["home", "severity 1: 0.700"]
    assert spoiled.view(with_corruption(run, FOUND | {"kinds": {"fog": {"values": {"1": 0.8}, "mean": 0.8}}})).curves == ()


def test_two_metrics_stand_side_by_side_in_the_table_and_in_each_chart(run):
    kinds = {"fog": {"values": {"1": 0.6, "2": 0.4}, "mean": 0.5}, "jpeg_compression": {"values": {"1": 0.2, "2": None}, "mean": 0.2}}
    beside = {"mIoU": {"clean": 0.8, "kinds": kinds, "mean": 0.35}}
    view = spoiled.view(with_corruption(run, FOUND | {"metric": "AP", "beside": beside, "mce": 0.75}))
    first, second = ["AP, severity 1", "AP, severity 2", "AP, mean"], ["mIoU, severity 1", "mIoU, severity 2", "mIoU, mean"]
    assert view.columns == (*first, "error / AlexNet", *second)
    assert view.rows[1] == ("jpeg compression", ("0.600", "0.300", "0.450", "n/a", "0.200", "n/a", "0.200"))
    assert view.rows[2] == ("mean", ("0.700", "0.400", "0.550", "0.750", "0.400", "0.400", "0.350"))
    assert view.sentences[0] == "AP and mIoU of corrupted copies of home; of home itself 0.900 and 0.800."
    assert [curve.name for curve in view.legend] == ["AP", "mIoU"]
    fog, jpeg = view.curves
    assert [dot.title for dot in fog.curves[3].dots] == ["home", "severity 1: 0.600", "severity 2: 0.400"]
    assert fog.curves[3].dots[1].y == pytest.approx(jpeg.curves[2].dots[1].y) and len(jpeg.curves[3].dots) == 2
    assert fog.desc == "AP 0.900 at home, 0.500 at severity 2. mIoU 0.800 at home, 0.400 at severity 2."
    assert '<ul class="legend">' in page.render(read.read(run))


def test_metrics_that_say_most_come_first_in_the_table_of_sets_each_with_its_bars(run):
    path = run / "results" / "shift.json"
    shift = json.loads(path.read_text())
    every = list(next(iter(shift["sets"].values()))["metrics"])
    assert len(sections.shifted(read.read(run)).bars) == 1 and len(every) == 2
    path.write_text(json.dumps(shift | {"headlines": every[::-1]}))
    found = sections.shifted(read.read(run))
    assert list(found.metrics) == [number.title(name) for name in every[::-1]]
    assert [len(bars.rows) for bars in found.bars] == [len(shift["sets"])] * 2
