"""Mean corruption error: the published baseline, worked examples, and what a shift file says."""

import json

import pytest

from pellucid import grids
from pellucid.errors import BadData, BadUsage
from pellucid.shift.corruption_error import (
    ALEXNET,
    COUNTED,
    Baseline,
    baseline_for,
    corruption_errors,
    mean_corruption_error,
    of_run,
    relative_mean_corruption_error,
    summary,
)

# the paper's table of AlexNet, rounded: error of each kind over five severities, in percent
TABLE = {
    **{"gaussian_noise": 88.6, "shot_noise": 89.4, "impulse_noise": 92.3, "defocus_blur": 82.0, "glass_blur": 82.6, "motion_blur": 78.6},
    **{"zoom_blur": 79.8, "snow": 86.7, "frost": 82.7, "fog": 81.9, "brightness": 56.5, "contrast": 85.3, "elastic_transform": 64.6},
    **{"pixelate": 71.8, "jpeg_compression": 60.7},
}
MINE = {"fog": {1: 0.2, 2: 0.4}, "snow": {1: 0.3, 2: 0.3}}
THEIRS = Baseline("other", 0.1, {"fog": {1: 0.4, 2: 0.8}, "snow": {1: 0.3, 2: 0.5, 3: 0.9}})


def test_the_baseline_has_the_published_error_of_each_kind():
    assert set(ALEXNET.errors) == set(COUNTED) == set(TABLE)
    for kind, percent in TABLE.items():
        assert 100 * sum(ALEXNET.errors[kind].values()) / 5 == pytest.approx(percent, abs=0.051)


def test_the_baseline_against_itself_is_one():
    assert mean_corruption_error(ALEXNET.errors) == pytest.approx(1)
    assert relative_mean_corruption_error(ALEXNET.errors, ALEXNET.clean) == pytest.approx(1)


def test_errors_are_summed_over_severities_before_they_are_divided():
    assert corruption_errors(MINE, THEIRS) == {"fog": pytest.approx(0.6 / 1.2), "snow": pytest.approx(0.6 / 0.8)}
    assert mean_corruption_error(MINE, THEIRS) == pytest.approx(0.625)


def test_the_relative_error_counts_what_corruption_adds():
    # fog: (0.1 + 0.3) / (0.3 + 0.7), snow: (0.2 + 0.2) / (0.2 + 0.4)
    assert relative_mean_corruption_error(MINE, 0.1, THEIRS) == pytest.approx((0.4 / 1.0 + 0.4 / 0.6) / 2)


def test_the_extra_kinds_have_an_error_and_no_part_in_the_mean():
    mine, theirs = {**MINE, "saturate": {1: 1.0}}, Baseline("other", 0.1, {**THEIRS.errors, "saturate": {1: 0.5}})
    assert corruption_errors(mine, theirs)["saturate"] == 2
    assert mean_corruption_error(mine, theirs) == mean_corruption_error(MINE, THEIRS)


def test_nothing_in_common_has_no_mean():
    with pytest.raises(ValueError, match="no kind"):
        mean_corruption_error({"typos": {1: 0.5}}, ALEXNET)


def test_what_happens_to_frames_is_no_part_of_the_mean_over_pictures_and_has_a_mean_where_there_are_none():
    frames, others = {"frame_drop": {1: 0.3}, "frame_rate": {1: 0.1}}, {"frame_drop": {1: 0.2}, "frame_rate": {1: 0.4}}
    both = Baseline("other", 0.1, {**THEIRS.errors, **others})
    assert corruption_errors({**MINE, **frames}, both)["frame_drop"] == pytest.approx(1.5)
    assert mean_corruption_error({**MINE, **frames}, both) == mean_corruption_error(MINE, THEIRS)
    assert mean_corruption_error(frames, both) == pytest.approx((1.5 + 0.25) / 2)
    with pytest.raises(ValueError, match="no kind"):
        mean_corruption_error(frames, ALEXNET)


def told(better=True, scale=1.0):
    def one(value):
        return {"metrics": {"top1": {"value": scale * value, "higher_is_better": better}, "top5": {"value": 1, "higher_is_better": True}}}

    sets = {f"val/{kind}-{s}": one(1 - e) for kind, found in MINE.items() for s, e in found.items()}
    return {"home": "val", "sets": {"val": one(0.9), "away": one(0.1), **sets}}


def test_the_summary_of_a_shift_has_values_means_and_errors():
    found = summary(told(), ["fog", "snow"], [1, 2], THEIRS)
    assert (found["metric"], found["clean"], found["baseline"], found["complete"]) == ("top1", 0.9, "other", False)
    assert found["kinds"]["fog"] == {"values": {"1": 0.8, "2": 0.6}, "mean": pytest.approx(0.7), "error": pytest.approx(0.5)}
    assert (found["mean"], found["mce"]) == (pytest.approx(0.7), pytest.approx(0.625))
    assert found["relative_mce"] == pytest.approx((0.4 / 1.0 + 0.4 / 0.6) / 2)


def test_without_a_baseline_there_are_values_and_no_errors():
    found = summary(told(), ["fog", "snow"], [1, 2], None)
    assert found["mean"] == pytest.approx(0.7)
    assert found["baseline"] is found["mce"] is found["relative_mce"] is found["kinds"]["fog"]["error"] is None


def test_a_metric_that_is_no_share_has_no_error():
    assert summary(told(better=False), ["fog"], [1, 2], None) is None
    assert summary(told(scale=100), ["fog"], [1, 2], None) is None


def test_the_published_baseline_is_for_a_thousand_classes_of_pictures():
    assert baseline_for(["fog"], 1000) is ALEXNET
    assert baseline_for(["fog"], 10) is baseline_for(["typos"], 1000) is baseline_for(["fog"], None) is None


def test_another_run_is_a_baseline(tmp_path):
    (tmp_path / "results").mkdir()
    with pytest.raises(BadData, match="no corruptions measured"):
        of_run(tmp_path, "top1")
    (tmp_path / "results" / "shift.json").write_text(json.dumps({"corruption": summary(told(), ["fog", "snow"], [1, 2], None)}))
    other = of_run(tmp_path, "top1")
    assert other.clean == pytest.approx(0.1)
    assert mean_corruption_error(MINE, other) == pytest.approx(1)
    with pytest.raises(BadUsage, match="measured by top1, this run by accuracy"):
        of_run(tmp_path, "accuracy")


def test_a_copy_in_which_nothing_is_left_to_measure_counts_in_no_mean():
    def one(value):
        return {"metrics": {"P@1": {"value": value, "higher_is_better": True}}}

    values = {"negation-1": 0.5, "negation-5": float("nan"), "typos-1": 0.75, "typos-5": 0.25}
    told = {"home": "home", "sets": {"home": one(0.75), **{f"home/{name}": one(value) for name, value in values.items()}}}
    found = summary(told, ["negation", "typos"], [1, 5], None)
    assert found["kinds"]["negation"] == {"values": {"1": 0.5, "5": None}, "mean": 0.5, "error": None}
    assert found["kinds"]["typos"]["mean"] == found["mean"] == 0.5
    rows = [str(cell) for column in grids.corruption(found)[0].columns for cell in column.cells]
    assert rows.count("n/a") == 1 and "0.625" in rows and "0.250" in rows


# ---- several metrics --------------------------------------------------------------------------------------------------


def two(*severities):
    """What `compare` would find of boxes and maps on fog and snow; snow leaves no box to be measured at the highest severity."""

    def one(ap, miou):
        return {"metrics": {name: {"value": v, "higher_is_better": True} for name, v in (("AP", ap), ("AP50", 0.9), ("mIoU", miou))}}

    sets = {f"home/fog-{s}": one(0.8 - s / 10, 0.9 - s / 20) for s in severities}
    sets |= {f"home/snow-{s}": one(float("nan") if s == severities[-1] else 0.5, 0.25) for s in severities}
    return {"home": "home", "headlines": ["AP", "mIoU"], "sets": {"home": one(0.8, 0.9), **sets}}


def test_a_metric_beside_the_first_has_its_own_values_and_means_and_no_errors():
    found = summary(two(1, 3), ["fog", "snow"], [1, 3], None, ["mIoU"])
    assert found["metric"] == "AP" and found["kinds"]["fog"]["values"] == pytest.approx({"1": 0.7, "3": 0.5})
    beside = found["beside"]["mIoU"]
    assert beside["clean"] == 0.9 and beside["kinds"]["fog"]["values"] == pytest.approx({"1": 0.85, "3": 0.75})
    assert beside["mean"] == pytest.approx((0.8 + 0.25) / 2) and "error" not in beside["kinds"]["fog"]
    assert found["kinds"]["snow"]["mean"] == 0.5
    assert "beside" not in summary(two(1, 3), ["fog"], [1, 3], None)


def test_two_metrics_stand_side_by_side_at_few_severities_and_one_below_the_other_at_many():
    (table,) = grids.corruption(summary(two(1, 3), ["fog", "snow"], [1, 3], None, ["mIoU"]))
    assert [column.header for column in table.columns] == ["corruption", "AP 1", "AP 3", "AP mean", "mIoU 1", "mIoU 3", "mIoU mean"]
    rows = [list(map(str, cells)) for cells in zip(*(column.cells for column in table.columns), strict=True)]
    assert rows[1] == ["snow", "0.500", "n/a", "0.500", "0.250", "0.250", "0.250"]
    assert rows[2] == ["mean", "0.600", "0.500", "0.550", "0.550", "0.500", "0.525"]
    assert table.title == "AP and mIoU under corruption (clean AP 0.800, mIoU 0.900)"
    several = grids.corruption(summary(two(1, 2, 3, 4, 5), ["fog", "snow"], [1, 2, 3, 4, 5], None, ["mIoU"]))
    assert [one.title for one in several] == ["AP under corruption (clean 0.800)", "mIoU under corruption (clean 0.900)"]
    against = grids.corruption(summary(two(1, 2), ["fog"], [1, 2], Baseline("other", 0.1, {"fog": {1: 0.5, 2: 0.5}}), ["mIoU"]))
    assert [[column.header for column in one.columns][-1] for one in against] == ["error / other", "mean"]
