"""Numbers of picture quality: fits that find a known curve, rows without label, agreement, kinds and splits."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from pellucid.metrics import bootstrap, fits
from pellucid.metrics.quality import Agreement, by_kind, over_splits, quality_metrics
from pellucid.metrics.regression import Kendall
from pellucid.task import Metric


def rated(n=120, noise=0.1, seed=0):
    """Predictions that are a bent and noisy view of the labels, in a unit of their own."""
    rng = np.random.default_rng(seed)
    labels = rng.random(n)
    return 30 + 8 * np.log((labels + 0.05) / (1.05 - labels)) + 8 * noise * rng.normal(size=n), labels


def rows(predictions, labels):
    given = [{"quality": float(p), "spread": 0.0} for p in predictions]
    return given, [{"id": f"rows.csv:{i + 1}", "label": float(y)} for i, y in enumerate(labels)]


def gathered(predictions, examples, make=quality_metrics):
    metrics = make()
    for prediction, example in zip(predictions, examples, strict=True):
        for metric in metrics.values():
            metric.update(prediction, example)
    return metrics


def computed(predictions, examples):
    return {name: metric.compute() for name, metric in gathered(predictions, examples).items()}


def same(found, told, **slack):
    assert found.keys() == told.keys()
    for name in found:
        assert found[name] == pytest.approx(told[name], nan_ok=True, **slack), name


def test_numbers_agree_with_scipy():
    values, labels = rated()
    values = np.round(values)  # ties
    found = computed(*rows(values, labels))
    assert found["srocc"] == pytest.approx(stats.spearmanr(values, labels)[0], abs=1e-12)
    assert found["krocc"] == pytest.approx(stats.kendalltau(values, labels)[0], abs=1e-12)
    assert found["plcc"] == pytest.approx(stats.pearsonr(values, labels)[0], abs=1e-12)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean((values - labels) ** 2)), abs=1e-12)

    def logistic(x, high, low, middle, width):
        return (high - low) / (1 + np.exp(-(x - middle) / width)) + low

    best, _ = optimize.curve_fit(logistic, values, labels, p0=[labels.max(), labels.min(), values.mean(), values.std() / 4])
    assert found["plcc_4"] == pytest.approx(stats.pearsonr(logistic(values, *best), labels)[0], abs=1e-6)
    assert found["rmse_4"] == pytest.approx(np.sqrt(np.mean((logistic(values, *best) - labels) ** 2)), abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "curve"),
    [
        ("logistic4", lambda x: 0.2 + 0.7 / (1 + np.exp(-(x - 31) / 1.5))),
        ("logistic4", lambda x: 0.9 - 0.7 / (1 + np.exp(-(x - 31) / 1.5))),
        ("logistic5", lambda x: 0.4 * (0.5 - 1 / (1 + np.exp(1.1 * (x - 29)))) + 0.02 * x - 0.1),
        ("line", lambda x: 3 - 0.1 * x),
    ],
)
def test_a_curve_without_noise_is_found(kind, curve):
    values = np.random.default_rng(0).uniform(25, 36, 80)
    np.testing.assert_allclose(fits.fit(kind, values, curve(values))(values), curve(values), atol=1e-5)


@pytest.mark.parametrize("noise", [0.01, 0.5, 30])
@pytest.mark.parametrize("flip", [1, -1])
def test_no_curve_is_further_off_than_a_simpler_one_and_each_is_monotone(noise, flip):
    for seed in range(3):
        values, labels = rated(40, noise, seed)
        curves = [fits.fit(kind, flip * values, labels) for kind in ("line", "logistic4", "logistic5")]
        off = [np.sum((curve(flip * values) - labels) ** 2) for curve in curves]
        assert off[0] >= off[1] >= off[2]
        for curve in curves:
            steps = np.diff(curve(np.linspace((flip * values).min(), (flip * values).max(), 300)))
            assert (steps >= -1e-9).all() or (steps <= 1e-9).all()


def test_points_that_rise_and_fall_are_not_followed():
    x = np.linspace(0, 1, 60)
    hill = 0.3 * x - np.tanh(8 * (x - 0.5))  # rises, falls, rises: five parameters could follow
    steps = np.diff(fits.fit("logistic5", x, hill)(np.linspace(0, 1, 300)))
    assert (steps >= -1e-9).all() or (steps <= 1e-9).all()


def test_fits_do_not_care_for_the_unit_of_predictions_and_tell_errors_in_that_of_labels():
    values, labels = rated()
    found, scaled = computed(*rows(values, labels)), computed(*rows(1000 * values - 7, 5 * labels + 1))
    for name in ("srocc", "krocc", "plcc", "plcc_4", "plcc_5"):
        assert scaled[name] == pytest.approx(found[name], abs=1e-6)
    for name in ("rmse_4", "rmse_5"):
        assert scaled[name] == pytest.approx(5 * found[name], rel=1e-4)
    assert found["plcc_5"] > found["plcc"] + 0.01


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [
        ([0.5] * 8, np.linspace(0, 1, 8)),
        (np.linspace(0, 1, 8), [0.5] * 8),
        ([0.5] * 8, [0.5] * 8),
        ([0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0, 1]),
        (np.array([1e-9, 0, 3e-9, 1e9, 5, 6, 7]), np.linspace(0, 1, 7)),
        (np.arange(6.0), [0, 1, 0, 1, 0, 1]),
    ],
)
@pytest.mark.filterwarnings("error")
def test_sets_that_cannot_be_fitted_give_a_number_or_nan(predictions, labels):
    found = computed(*rows(predictions, labels))
    assert all(np.isfinite(found[name]) for name in ("rmse", "rmse_4", "rmse_5"))
    assert found["rmse_5"] <= np.std(labels) + 1e-9  # no worse than telling the mean
    level = np.ptp(predictions) == 0 or np.ptp(labels) == 0
    assert all(math.isnan(found[name]) == level for name in ("srocc", "krocc", "plcc"))


def test_fewer_than_six_rows_have_no_fit_and_none_at_all_have_no_number():
    found = computed(*rows([0.1, 0.2, 0.4, 0.3, 0.7], [0.1, 0.2, 0.3, 0.4, 0.5]))
    assert {name for name, value in found.items() if math.isnan(value)} == {"plcc_4", "rmse_4", "plcc_5", "rmse_5", "agreement"}
    assert all(math.isnan(value) for value in computed([], []).values())
    with pytest.raises(ValueError, match="5 points; a fit needs 6"):
        fits.fit("logistic4", np.arange(5.0), np.arange(5.0))


def preferred(*pairs):
    """Rows of two pictures: predicted quality of either, and the share that prefers the first."""
    given = [{"quality": a, "spread": 0.0, "other_quality": b} for a, b, _ in pairs]
    return given, [{"id": f"pairs.csv:{i + 1}", "preference": p} for i, (_, _, p) in enumerate(pairs)]


def test_rows_without_label_count_in_agreement_alone():
    predictions, examples = rows(*rated(30))
    told, pairs = preferred((0.8, 0.2, 0.9), (0.1, 0.6, 0.7), (0.3, 0.5, 0.1))
    mixed = told[:1] + predictions + told[1:], pairs[:1] + examples + pairs[1:]
    alone, both = computed(predictions, examples), computed(*mixed)
    assert both.pop("agreement") == pytest.approx(2 / 3) and math.isnan(alone.pop("agreement"))
    same(both, alone)
    drawn = bootstrap.draws(quality_metrics, *mixed, resamples=20)
    assert all(np.isfinite(values).all() for name, values in drawn.items() if name != "agreement")
    fixed = np.zeros((1, 33))
    fixed[0, [1, 2, 5]] = 2  # rows 0, 1, 4 of the labelled ones
    metric = gathered(*mixed)["plcc"]
    (x, y), three = rated(30), [0, 1, 4]
    assert metric.resample(fixed)[0] == pytest.approx(stats.pearsonr(x[three], y[three])[0], abs=1e-9)
    assert np.isnan(metric.resample(np.eye(33)[:1])).all()  # only a preference was drawn


def test_only_decided_preferences_count_and_equal_qualities_are_half_right():
    found = computed(*preferred((0.9, 0.1, 0.6), (0.5, 0.5, 1.0), (0.2, 0.4, 0.35), (0.4, 0.2, 0.35)))
    assert found["agreement"] == pytest.approx((0.5 + 1 + 0) / 3)  # .6 is undecided, .35 is just decided
    assert math.isnan(computed(*preferred((0.9, 0.1, 0.5)))["agreement"])
    every = gathered(*preferred((0.9, 0.1, 0.6), (0.9, 0.1, 0.5)), lambda: {"all": Agreement(decided=0.0)})["all"]
    assert every.compute() == 1  # people who are of two minds agree with nobody


def test_a_bare_number_will_do_and_what_is_none_is_refused():
    values, labels = rated(20)
    given, examples = rows(values, labels)
    same(computed([float(v) for v in values], examples), computed(given, examples))
    for wrong, complaint in (({"spread": 0.1}, "quality.*rows.csv:1.*None"), ({"quality": math.nan}, "NaN"), (math.inf, "inf")):
        with pytest.raises(ValueError, match=complaint):
            gathered([wrong], examples[:1])
    with pytest.raises(ValueError, match=r"other_quality.*pairs\.csv:1"):
        gathered([{"quality": 0.3}], preferred((0.3, 0.1, 0.9))[1])
    with pytest.raises(ValueError, match=r"label.*rows\.csv:1.*NaN"):
        gathered(given[:1], [{"id": "rows.csv:1", "label": math.nan}])


def test_parts_merged_give_the_numbers_of_the_whole():
    predictions, examples = rows(*rated(40))
    told, pairs = preferred((0.8, 0.2, 0.9), (0.1, 0.6, 0.7))
    predictions, examples = told[:1] + predictions + told[1:], pairs[:1] + examples + pairs[1:]
    part, rest = gathered(predictions[:15], examples[:15]), gathered(predictions[15:], examples[15:])
    part["plcc_5"].compute()  # what is remembered of the part must not stay
    for name, metric in part.items():
        metric.merge(rest[name])
    same({name: metric.compute() for name, metric in part.items()}, computed(predictions, examples), abs=1e-12)
    weights = np.random.default_rng(0).multinomial(42, np.ones(42) / 42, 3).astype(float)
    whole = gathered(predictions, examples)
    for name, metric in part.items():
        np.testing.assert_allclose(metric.resample(weights), whole[name].resample(weights), atol=1e-12)


def test_a_row_of_multiplicities_is_kendall_of_the_repeated_rows():
    values, labels = rated(30)
    metric = Kendall()
    for value, label in zip(np.round(values), labels, strict=True):
        metric.update(value, {"label": label})
    weights = np.random.default_rng(1).integers(0, 3, (5, 30))
    told = [stats.kendalltau(np.repeat(np.round(values), row), np.repeat(labels, row))[0] for row in weights]
    np.testing.assert_allclose(metric.resample(weights.astype(float)), told, atol=1e-12)
    assert math.isnan(Kendall().compute()) and np.isnan(metric.resample(np.eye(30)[:1])).all()


def test_resampling_a_fit_keeps_the_curve_of_the_whole_set():
    values, labels = rated(50)
    metric = gathered(*rows(values, labels))["plcc_4"]
    weights = np.random.default_rng(1).integers(0, 3, (4, 50))
    curve = fits.fit("logistic4", values, labels)
    told = [stats.pearsonr(np.repeat(curve(values), row), np.repeat(labels, row))[0] for row in weights]
    np.testing.assert_allclose(metric.resample(weights.astype(float)), told, atol=1e-9)


def test_metrics_come_ranks_first_and_say_which_way_is_better():
    metrics = quality_metrics()
    assert list(metrics) == ["srocc", "krocc", "plcc", "rmse", "plcc_4", "rmse_4", "plcc_5", "rmse_5", "agreement"]
    assert [name for name, metric in metrics.items() if not metric.higher_is_better] == ["rmse", "rmse_4", "rmse_5"]
    assert all(isinstance(metric, Metric) for metric in metrics.values())


def test_each_kind_has_its_own_numbers_and_the_curve_of_all_says_which_is_flattered():
    values, labels = rated(90, noise=0.05)
    predictions, examples = rows(values + np.tile([0, 4, -4], 30), labels)  # blur is flattered, noise is blamed
    for i, example in enumerate(examples):
        example |= {"kind": ("jpeg", "blur", "noise")[i % 3]} if i < 87 else {}
    told, pairs = preferred((0.8, 0.2, 0.9))
    found = by_kind(predictions + told, [*examples, pairs[0] | {"kind": "blur"}])
    assert list(found) == ["blur", "jpeg", "noise"] and [found[kind]["n"] for kind in found] == [29, 29, 29]
    assert found["blur"]["residual"] > 0.05 and found["noise"]["residual"] < -0.05 and abs(found["jpeg"]["residual"]) < 0.05
    mine = list(range(1, 87, 3))
    alone = computed([predictions[i] for i in mine], [examples[i] for i in mine])
    same({name: found["blur"][name] for name in ("srocc", "plcc_5", "rmse_5")}, {n: alone[n] for n in ("srocc", "plcc_5", "rmse_5")})


def test_the_residual_of_few_rows_is_that_of_the_predictions_themselves():
    predictions, examples = rows([0.7, 0.4], [0.5, 0.5])
    found = by_kind(predictions, [example | {"kind": "blur"} for example in examples])
    assert found["blur"]["residual"] == pytest.approx(0.05) and math.isnan(found["blur"]["plcc_5"]) and by_kind([], []) == {}


def test_splits_are_told_by_their_middle_and_their_middle_95_percent():
    found = over_splits([*np.arange(41) / 40, math.nan])
    assert found == pytest.approx({"median": 0.5, "mean": 0.5, "low": 0.025, "high": 0.975, "n": 41})
    assert over_splits(iter([]))["n"] == 0 and math.isnan(over_splits([math.nan])["median"])
