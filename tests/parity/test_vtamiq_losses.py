"""Losses, label processing and correlations against the numbers of VTAMIQ's code, at 1e-9 in float64."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pellucid.metrics import fits
from pellucid.metrics.quality import quality_metrics
from pellucid.tasks.quality.linearise import Linearised
from pellucid.tasks.quality.loss import mean_absolute, pearson_loss, rank_loss, weighted

SIZES = (4, 8, 16)
PAPER = {"mae": 1.0, "rank": 1.0, "pears": 0.2}


@pytest.fixture(scope="module")
def tensors(references):
    return load_file(references / "vision/vtamiq/losses.safetensors")


@pytest.fixture(scope="module")
def scalars(references):
    return json.loads((references / "vision/vtamiq/losses_and_scores.json").read_text())


@pytest.fixture(scope="module")
def points(references):
    return json.loads((references / "vision/vtamiq/correlations.json").read_text())["logistic200"]


def losses(errors, targets):
    parts = {
        "mae": mean_absolute(errors, targets),
        "rank": rank_loss(errors, targets, floor=0.0),
        "pears": pearson_loss(errors, targets, published=True),
    }
    return parts | {"paper_total": sum(weighted(parts, PAPER).values())}


@pytest.mark.parametrize("name", [*PAPER, "paper_total"])
@pytest.mark.parametrize("size", SIZES)
def test_losses_and_their_gradients(tensors, scalars, name, size):
    errors = tensors[f"b{size}_d"].requires_grad_()
    value = losses(errors, tensors[f"b{size}_y"])[name]
    (slope,) = torch.autograd.grad(value, errors)
    told = scalars[f"b{size}"]["paper_total_w1_1_0.2" if name == "paper_total" else name]
    assert value.item() == pytest.approx(told, abs=1e-9)
    torch.testing.assert_close(slope, tensors[f"b{size}_{name}_grad"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_the_total_of_2024_is_rank_and_pearson_alone(tensors, scalars, size):
    found = losses(tensors[f"b{size}_d"], tensors[f"b{size}_y"])
    parts = {name: found[name] for name in PAPER}
    assert 2 * sum(weighted(parts, {"mae": 0.0, "rank": 1.0, "pears": 1.0}).values()).item() == pytest.approx(
        scalars[f"b{size}"]["head_total"], abs=1e-9
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_positive_correlation_costs_what_is_published(tensors, size):
    errors, targets = tensors[f"b{size}_d"], tensors[f"b{size}_y"]
    assert pearson_loss(errors, targets) == pearson_loss(errors, targets, published=True)


def test_labels_are_bent_as_published_and_turned_into_errors(scalars):
    told = scalars["process_qs"]
    bend = Linearised.fit(told["mos"])
    np.testing.assert_allclose(bend.params, told["fit_p"], atol=1e-9)
    np.testing.assert_allclose(1 - bend.apply(np.array(told["mos"])), told["processed"], atol=1e-9)


def test_correlations_before_and_after_the_published_fit(points):
    predictions, targets = ((side - side.min()) / np.ptp(side) for side in (np.array(points["x"]), np.array(points["y"])))
    metrics, told = quality_metrics(), points["result"]
    for i, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        for metric in metrics.values():
            metric.update({"quality": float(prediction)}, {"id": str(i), "label": float(target)})
    found = {name: metric.compute() for name, metric in metrics.items()}
    for name, theirs in (("srocc", "SROCC"), ("krocc", "KROCC"), ("plcc", "PLCC_NOFIT"), ("rmse", "RMSE_NOFIT")):
        assert found[name] == pytest.approx(told[theirs], abs=1e-9)
    curve = fits.published5(predictions, targets)
    np.testing.assert_allclose(curve.params, np.array(points["fit_p"]) * [1, 1, 1, -1, 1], atol=1e-9)  # |p3| is told
    assert np.corrcoef(curve(predictions), targets)[0, 1] == pytest.approx(told["PLCC"], abs=1e-9)
    assert np.sqrt(np.mean((curve(predictions) - targets) ** 2)) == pytest.approx(told["RMSE"], abs=1e-9)
    assert found["rmse_5"] < told["RMSE"] and found["plcc_5"] > told["PLCC"]  # ours starts elsewhere
