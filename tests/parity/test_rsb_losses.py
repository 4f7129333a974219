"""Cross-entropies of ResNet strikes back against timm's: every `bce_`, `softce_` and `lsce_` number of the reference files."""

import json

import pytest
import torch
from safetensors.torch import load_file

from pellucid.losses.bce import binary_cross_entropy, smoothed, soft_cross_entropy

SPARSE = {
    "bce_sparse_s0": {},
    "bce_sparse_s0.1": {"smoothing": 0.1},
    "bce_sparse_s0.1_th0.2": {"smoothing": 0.1, "threshold": 0.2},
    "bce_sparse_s0_sum": {"sum_classes": True},
}
MIXED = {  # share of the first label, smoothing done while mixing, threshold
    "bce_mix0.7_s0.1": (0.7, 0.1, None),
    "bce_mix0.7_s0_th0.2": (0.7, 0.0, 0.2),
    "bce_mix0.9_s0_th0.2": (0.9, 0.0, 0.2),
    "bce_mix0.9_s0": (0.9, 0.0, None),
    "bce_mix0.8_s0_th0.2": (0.8, 0.0, 0.2),
    "bce_mix0.9_s0.1_th0.2": (0.9, 0.1, 0.2),
}
SOFT = ("softce_mix0.7_s0.1", "lsce_0.1")


@pytest.fixture(scope="module")
def tensors(references):
    return load_file(references / "vision/rsb/rsb.safetensors")


@pytest.fixture(scope="module")
def scalars(references):
    return json.loads((references / "vision/rsb/rsb.json").read_text())


def check(loss, name, tensors, scalars):
    logits = tensors["bce_logits"].clone().requires_grad_()
    value = loss(logits)
    value.backward()
    assert value.item() == pytest.approx(scalars[name], abs=1e-6)
    if f"{name}_grad" in tensors:
        torch.testing.assert_close(logits.grad, tensors[f"{name}_grad"], rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:threshold=0.2 undoes")
@pytest.mark.parametrize("name", SPARSE)
def test_one_label_each(tensors, scalars, name):
    check(lambda z: binary_cross_entropy(z, tensors["bce_target_idx"], **SPARSE[name]), name, tensors, scalars)
    rows = torch.eye(10)[tensors["bce_target_idx"]]
    check(lambda z: binary_cross_entropy(z, rows, **SPARSE[name]), name, tensors, scalars)


@pytest.mark.filterwarnings("ignore:threshold=0.2 undoes")
@pytest.mark.parametrize("name", MIXED)
def test_mixed_labels_smoothed_before_as_timm_does_or_within_the_loss(tensors, scalars, name):
    share, smoothing, threshold = MIXED[name]
    given = tensors[f"{name}_target"]
    rows = torch.eye(10)[tensors["bce_target_idx"]]
    plain = share * rows + (1 - share) * rows.flip(0)  # the partner is the mirror place in the batch
    torch.testing.assert_close(smoothed(plain, smoothing), given)
    check(lambda z: binary_cross_entropy(z, given, threshold=threshold), name, tensors, scalars)
    if share != 0.8:  # there 1 - 0.8 lies at the threshold but for rounding
        check(lambda z: binary_cross_entropy(z, plain, smoothing, threshold), name, tensors, scalars)


def test_cross_entropy_of_soft_and_of_smoothed_targets(tensors, scalars):
    check(lambda z: soft_cross_entropy(z, tensors["bce_mix0.7_s0.1_target"]), "softce_mix0.7_s0.1", tensors, scalars)
    check(lambda z: soft_cross_entropy(z, tensors["bce_mix0.7_s0_th0.2_target"], 0.1), "softce_mix0.7_s0.1", tensors, scalars)
    check(lambda z: soft_cross_entropy(z, tensors["bce_target_idx"], 0.1), "lsce_0.1", tensors, scalars)


def test_the_reference_holds_no_loss_that_is_not_checked(tensors, scalars):
    assert {k for k in scalars if k.startswith(("bce_", "softce_", "lsce_"))} == {*SPARSE, *MIXED, *SOFT}
    slopes, targets = {f"{name}_grad" for name in (*SPARSE, *MIXED)}, {f"{name}_target" for name in MIXED}
    assert {k for k in tensors if k.startswith(("bce_", "softce_", "lsce_"))} == slopes | targets | {"bce_logits", "bce_target_idx"}
