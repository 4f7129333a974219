"""The asymmetric loss and its metrics against the authors' code: every number of the reference files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pellucid.losses.asymmetric import Asymmetry, asymmetric_loss, single_label_asymmetric_loss
from pellucid.metrics.multilabel import MeanAveragePrecision, OfficialMeanAveragePrecision, PrecisionRecall

SETTINGS = {  # gamma_neg, gamma_pos, margin
    "paper": (4, 0, 0.05),
    "default": (4, 1, 0.05),
    "focal2": (2, 2, 0),
    "bce": (0, 0, 0),
    "g21": (2, 1, 0),
    "m02": (4, 1, 0.2),
    "clip_only": (0, 0, 0.05),
    "frac": (2.5, 0.5, 0.1),
}
TARGETS = {"hard": "targets", "soft": "targets_soft"}
LOSSES = [
    f"{prefix}{setting}_{focus}_{kind}_{dtype}"
    for setting in SETTINGS
    for focus in ("full", "nograd")
    for prefix, kind, dtype in (
        ("", "hard", "float32"),
        ("", "soft", "float32"),
        ("", "hard", "float64"),
        ("", "soft", "float64"),
        ("optimized_", "hard", "float32"),
    )
]
SINGLE = {
    "single_default": {},
    "single_eps0": {"smoothing": 0.0},
    "single_gp1": {"gamma_pos": 1.0},
    "single_eps0_gp2": {"smoothing": 0.0, "gamma_pos": 2.0},
}
MEANS = ("mAP_official", "mAP_sklearn", "mAP_official_ties", "mAP_sklearn_ties", "mAP_official_class_without_positives")
COUNTED = {
    "CP": "CP",
    "CR": "CR",
    "CF1_mean_of_class_F1": "CF1_mean",
    "CF1_from_CP_CR": "CF1",
    "OP": "OP",
    "OR": "OR",
    "OF1": "OF1",
}


@pytest.fixture(scope="module")
def tensors(references):
    return load_file(references / "vision/asl/asl.safetensors")


@pytest.fixture(scope="module")
def scalars(references):
    return json.loads((references / "vision/asl/asl_scalars.json").read_text())


def settings_of(name, eps_compat):
    setting, focus, kind, dtype = name.removeprefix("optimized_").rsplit("_", 3)
    return Asymmetry(*SETTINGS[setting], focus == "nograd", eps_compat), kind, getattr(torch, dtype)


def loss_and_slope(loss, logits):
    logits = logits.clone().requires_grad_()
    value = loss(logits)
    value.backward()
    return value.item(), logits.grad


@pytest.mark.parametrize("eps_compat", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient(tensors, scalars, name, eps_compat):
    asymmetry, kind, dtype = settings_of(name, eps_compat)
    logits, targets = tensors["logits"].to(dtype), tensors[TARGETS[kind]].to(dtype)
    value, slope = loss_and_slope(lambda z: asymmetric_loss(z, targets, asymmetry), logits)
    # our logarithms are exact: in float32 theirs of 1 - p lose a few parts in a million
    tolerance = 1e-7 if eps_compat else 5e-6
    assert value == pytest.approx(scalars[name], rel=tolerance if dtype == torch.float32 else 1e-12)
    if dtype == torch.float32:
        torch.testing.assert_close(slope, tensors[f"{name}_grad"], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", TARGETS)
def test_with_their_clamp_the_sum_in_double_precision_is_theirs_to_the_last_digits(tensors, scalars, setting, kind):
    name = f"{setting}_full_{kind}_float64"
    found = asymmetric_loss(tensors["logits"].double(), tensors[TARGETS[kind]].double(), settings_of(name, True)[0])
    assert found.item() == pytest.approx(scalars[name], rel=1e-15)


@pytest.mark.parametrize("name", SINGLE)
def test_one_label(tensors, scalars, name):
    value, slope = loss_and_slope(lambda z: single_label_asymmetric_loss(z, tensors["sl_targets"], **SINGLE[name]), tensors["sl_logits"])
    assert value == pytest.approx(scalars[name], rel=1e-6)
    torch.testing.assert_close(slope, tensors[f"{name}_grad"], rtol=1e-5, atol=1e-6)
    if name == "single_eps0":
        assert value == pytest.approx(scalars["torch_ce_sl"], rel=1e-6)


def test_binary_cross_entropy(tensors, scalars):
    found = asymmetric_loss(tensors["logits"], tensors["targets"], Asymmetry(0, 0, 0))
    assert found.item() == pytest.approx(scalars["torch_bce_sum"], rel=1e-7)


@pytest.mark.parametrize("side", [0, 1])
def test_extremes_with_their_clamp_and_what_they_are_without(tensors, scalars, side):
    logits = tensors["extreme_logits"]
    targets = torch.full_like(logits, side)
    clamped = Asymmetry(4, 1, 0.05, eps_compat=True)
    value, slope = loss_and_slope(lambda z: asymmetric_loss(z, targets, clamped), logits)
    assert value == pytest.approx(scalars[f"extreme_t{side}"], rel=1e-6)
    torch.testing.assert_close(slope, tensors[f"extreme_t{side}_grad"], rtol=1e-5, atol=1e-6)
    _, exact = loss_and_slope(lambda z: asymmetric_loss(z, targets, Asymmetry(4, 0, 0.05)), logits)
    assert exact.isfinite().all()
    if side:  # -100 and -30, where theirs pulls no more
        assert exact[0, :2].tolist() == pytest.approx([-1, -1])


# ---- metrics ----------------------------------------------------------------------------------------------------------


def gathered(metric, scores, targets):
    labels = metric.rows.labels
    for row, marks in zip(scores, targets, strict=True):
        metric.update({"scores": row}, {"labels": [labels[i] for i in np.flatnonzero(marks)]})
    return 100 * metric.compute()


@pytest.fixture(scope="module")
def ranked(tensors):
    scores, targets = tensors["map_scores"].numpy(), tensors["map_targets"].numpy()
    return scores, targets, [str(i) for i in range(scores.shape[1])]


def test_mean_average_precision(scalars, ranked):
    scores, targets, labels = ranked
    rounded, emptied = scores.round(1), targets.copy()
    emptied[:, 1] = 0
    found = {
        "mAP_official": gathered(OfficialMeanAveragePrecision(labels), scores, targets),
        "mAP_sklearn": gathered(MeanAveragePrecision(labels), scores, targets),
        "mAP_sklearn_ties": gathered(MeanAveragePrecision(labels), rounded, targets),
        "mAP_official_class_without_positives": gathered(OfficialMeanAveragePrecision(labels), scores, emptied),
    }
    assert found == pytest.approx({name: scalars[name] for name in found}, abs=1e-9)
    # among equal scores theirs keeps the order that an unstable sort leaves, which differs by processor
    assert gathered(OfficialMeanAveragePrecision(labels), rounded, targets) == pytest.approx(scalars["mAP_official_ties"], abs=0.5)


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_precision_recall_and_f1(scalars, ranked, threshold):
    scores, targets, labels = ranked
    found = {key: gathered(PrecisionRecall(labels, name, threshold), scores, targets) for key, name in COUNTED.items()}
    assert found == pytest.approx(scalars[f"prf_th{threshold}"], abs=1e-9)


def test_the_reference_holds_no_number_that_is_not_checked(tensors, scalars):
    told = {*LOSSES, *SINGLE, *MEANS, "torch_ce_sl", "torch_bce_sum", "extreme_t0", "extreme_t1", "prf_th0.5", "prf_th0.8"}
    assert set(scalars) == told
    assert all(set(scalars[f"prf_th{t}"]) == set(COUNTED) for t in (0.5, 0.8))
    slopes = {f"{name}_grad" for name in [*LOSSES, *SINGLE, "extreme_t0", "extreme_t1"] if not name.endswith("float64")}
    inputs = {"logits", "targets", "targets_soft", "sl_logits", "sl_targets", "extreme_logits", "map_scores", "map_targets"}
    assert set(tensors) == slopes | inputs
