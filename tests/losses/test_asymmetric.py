"""The asymmetric loss: hand-worked values, closed-form gradients, its special cases and its extremes."""

import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from pellucid.losses.asymmetric import Asymmetry, asymmetric_loss, single_label_asymmetric_loss
from pellucid.losses.reduction import known

BCE, PAPER, DETACHED = Asymmetry(0, 0, 0), Asymmetry(4, 0, 0.05), Asymmetry(4, 0, 0.05, detach_focus=True)
# p: loss where absent, its gradient in full and with the focusing weight held, by hand for (4, 0, .05)
ABSENT = {
    0.05: (0.0, 0.0, 0.0),
    0.1: (3.2058e-7, 2.9009e-6, 5.9211e-7),
    0.3: (0.00112376, 0.00486958, 0.00109375),
    0.5: (0.02451505, 0.0731171, 0.0186392),
    0.9: (0.99030849, 0.73262852, 0.31320375),
    0.99: (2.19656749, 0.22135983, 0.12882358),
}
# p: loss where present with gamma_pos 1, gradient in full and held
PRESENT = {
    0.05: (2.84594566, -1.04479728, -0.9025),
    0.3: (0.84278096, -0.74283429, -0.49),
    0.5: (0.34657359, -0.4232868, -0.25),
    0.99: (0.0001005, -0.0001995, -0.0001),
}
SETTINGS = [
    PAPER,
    DETACHED,
    BCE,
    Asymmetry(2, 2, 0),
    Asymmetry(2, 1, 0),
    Asymmetry(1, 1, 0.2),
    Asymmetry(3, 0, 0.1),
    Asymmetry(0, 0, 0.05),
    Asymmetry(2.5, 0.5, 0.1),
    Asymmetry(0.5, 0.5, 0.05),
    Asymmetry(4, 1, 0.05, detach_focus=True),
]


def logit(p):
    return math.log(p / (1 - p))


def slope_of(logits, targets, asymmetry=PAPER, **settings):
    logits = logits.detach().clone().requires_grad_()
    asymmetric_loss(logits, targets, asymmetry, **settings).backward()
    return logits.grad


def formula(logits, targets, a):
    """The definition, entry by entry, differentiated by autograd; of float64 logits that are not extreme."""
    p = torch.sigmoid(logits)
    over = (p - a.margin).clamp(min=0)
    base = targets * (1 - p) + (1 - targets) * over
    base = torch.where(base == 0, base + 1e-300, base)
    weight = base ** (a.gamma_pos * targets + a.gamma_neg * (1 - targets))
    weight = weight.detach() if a.detach_focus else weight
    return -weight * (targets * p.log() + (1 - targets) * (1 - over).log())


def batch(kind, rows=9, classes=7, dtype=torch.float64):
    logits = torch.randn(rows, classes, dtype=dtype) * 2
    if kind == "soft":
        return logits, torch.rand(rows, classes, dtype=dtype)
    return logits, (torch.rand(rows, classes) < {"few": 0.15, "many": 0.6}[kind]).to(dtype)


# ---- values and gradients ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", ABSENT)
def test_an_absent_class_costs_what_was_worked_out_by_hand(p):
    logits, targets = torch.tensor([[logit(p)]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    loss, full, held = ABSENT[p]
    assert asymmetric_loss(logits, targets, PAPER).item() == pytest.approx(loss, rel=1e-4, abs=1e-8)
    assert slope_of(logits, targets, PAPER).item() == pytest.approx(full, rel=1e-4, abs=1e-8)
    assert slope_of(logits, targets, DETACHED).item() == pytest.approx(held, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("p", PRESENT)
def test_a_present_class_costs_what_was_worked_out_by_hand(p):
    logits, targets = torch.tensor([[logit(p)]], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    loss, full, held = PRESENT[p]
    assert asymmetric_loss(logits, targets, Asymmetry(4, 1)).item() == pytest.approx(loss, rel=1e-6, abs=1e-7)
    assert slope_of(logits, targets, Asymmetry(4, 1)).item() == pytest.approx(full, rel=1e-6, abs=1e-7)
    assert slope_of(logits, targets, Asymmetry(4, 1, detach_focus=True)).item() == pytest.approx(held, rel=1e-6, abs=1e-7)
    assert asymmetric_loss(logits, targets, PAPER).item() == pytest.approx(-math.log(p))
    assert slope_of(logits, targets, PAPER).item() == pytest.approx(p - 1)


@pytest.mark.parametrize("kind", ["few", "many", "soft"])
@pytest.mark.parametrize("asymmetry", SETTINGS, ids=str)
def test_value_and_gradient_are_those_of_the_definition_to_1e_12(asymmetry, kind):
    logits, targets = batch(kind)
    logits.requires_grad_()
    expected = formula(logits, targets, asymmetry)
    (slope,) = torch.autograd.grad(expected.sum(), logits)
    found = asymmetric_loss(logits, targets, asymmetry, reduction="none")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slope_of(logits, targets, asymmetry), slope, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", ["few", "many", "soft"])
@pytest.mark.parametrize("asymmetry", [a for a in SETTINGS if not a.detach_focus], ids=str)
def test_the_gradient_is_that_of_the_value_seen_numerically(asymmetry, kind):
    logits, targets = batch(kind, 3, 4)
    assert torch.autograd.gradcheck(lambda z: asymmetric_loss(z, targets, asymmetry), logits.requires_grad_())


def test_bool_targets_and_floats_of_them_are_the_same():
    for kind in ("few", "many"):
        logits, targets = batch(kind, dtype=torch.float32)
        assert torch.equal(asymmetric_loss(logits, targets.bool()), asymmetric_loss(logits, targets))
        assert torch.equal(slope_of(logits, targets.bool()), slope_of(logits, targets))


@pytest.mark.parametrize("asymmetry", [PAPER, Asymmetry(2.5, 1, 0)], ids=str)
def test_a_batch_of_many_blocks_is_the_sum_of_its_rows(asymmetry, monkeypatch):
    for kind in ("few", "many", "soft"):
        logits, targets = batch(kind, 23)
        whole, slope = asymmetric_loss(logits, targets, asymmetry, reduction="none"), slope_of(logits, targets, asymmetry)
        monkeypatch.setattr("pellucid.losses.entries.BLOCK", 21)  # three rows at a time, and two at the end
        torch.testing.assert_close(asymmetric_loss(logits, targets, asymmetry, reduction="none"), whole)
        torch.testing.assert_close(slope_of(logits, targets, asymmetry), slope)
        total = asymmetric_loss(logits, targets, asymmetry)
        monkeypatch.undo()
        torch.testing.assert_close(total, whole.sum())
        torch.testing.assert_close(asymmetric_loss(logits[:1], targets[:1], asymmetry), whole[0].sum())


# ---- special cases ----------------------------------------------------------------------------------------------------


def test_without_gammas_and_margin_it_is_binary_cross_entropy():
    for kind in ("few", "many", "soft"):
        logits, targets = batch(kind, dtype=torch.float32)
        expected = functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        torch.testing.assert_close(asymmetric_loss(logits, targets, BCE), expected, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(slope_of(logits, targets, BCE), logits.sigmoid() - targets, rtol=1e-6, atol=1e-6)


def test_what_lies_within_the_margin_costs_exactly_nothing():
    logits = torch.tensor([[logit(0.0499), -5.0, -40.0]])
    for asymmetry in (PAPER, DETACHED, Asymmetry(0, 0, 0.05), Asymmetry(0.5, 0.5, 0.05), Asymmetry(torch.tensor(4.0), 0, 0.05)):
        for targets in (torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.bool)):
            assert asymmetric_loss(logits, targets, asymmetry, reduction="none").tolist() == [[0.0, 0.0, 0.0]]
            assert slope_of(logits, targets, asymmetry).tolist() == [[0.0, 0.0, 0.0]]


def test_at_the_margin_value_and_gradient_begin_without_a_jump():
    just = torch.tensor([[logit(0.05 + 1e-6), logit(0.05 - 1e-6)]], dtype=torch.float64)
    for gamma in (2, 4):
        assert asymmetric_loss(just, torch.zeros_like(just), Asymmetry(gamma), reduction="none").abs().max() < 1e-11
        assert slope_of(just, torch.zeros_like(just), Asymmetry(gamma)).abs().max() < 1e-9


@pytest.mark.parametrize("asymmetry", SETTINGS, ids=str)
def test_it_is_never_negative_and_rises_with_the_error(asymmetry):
    logits = torch.linspace(-12, 12, 97, dtype=torch.float64)[:, None]
    absent = asymmetric_loss(logits, torch.zeros_like(logits), asymmetry, reduction="none")[:, 0]
    present = asymmetric_loss(logits, torch.ones_like(logits), asymmetry, reduction="none")[:, 0]
    assert (absent >= 0).all() and (present >= 0).all()
    assert (absent.diff() >= 0).all() and (present.diff() <= 0).all()


def test_gammas_and_margins_may_differ_by_class():
    for kind in ("few", "many", "soft"):
        logits, targets = batch(kind, classes=3)
        each = [Asymmetry(4.0, 0.0, 0.05), Asymmetry(2.0, 1.0, 0.0), Asymmetry(0.0, 2.5, 0.2)]
        columns = [torch.tensor([getattr(a, f) for a in each], dtype=torch.float64) for f in ("gamma_neg", "gamma_pos", "margin")]
        found = asymmetric_loss(logits, targets, Asymmetry(*columns), reduction="none")
        slope = slope_of(logits, targets, Asymmetry(*columns))
        for c, a in enumerate(each):
            torch.testing.assert_close(
                found[:, c : c + 1], asymmetric_loss(logits[:, c : c + 1], targets[:, c : c + 1], a, reduction="none")
            )
            torch.testing.assert_close(slope[:, c : c + 1], slope_of(logits[:, c : c + 1], targets[:, c : c + 1], a))


# ---- unknown labels, reductions, shapes -------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [-1.0, 1.0, float("nan")])
@pytest.mark.parametrize("kind", ["few", "many", "soft"])
def test_an_unknown_label_costs_nothing_whatever_it_says(kind, mark):
    logits, targets = batch(kind, dtype=torch.float32)
    present = torch.rand(logits.shape) < 0.6
    entries = asymmetric_loss(logits, targets, reduction="none")
    marked = targets.masked_fill(~present, mark)
    assert torch.equal(asymmetric_loss(logits, marked, present=present, reduction="none"), entries * present)
    torch.testing.assert_close(asymmetric_loss(logits, marked, present=present), (entries * present).sum())
    assert torch.equal(slope_of(logits, marked, present=present), slope_of(logits, targets) * present)
    torch.testing.assert_close(
        asymmetric_loss(logits, marked, present=present, reduction="mean"), (entries * present).sum() / present.sum()
    )


def test_reductions_divide_value_and_gradient_alike():
    logits, targets = batch("few")
    entries, slope = asymmetric_loss(logits, targets, reduction="none"), slope_of(logits, targets)
    for name, divisor in {"sum": 1, "mean": 63, "mean_samples": 9}.items():
        torch.testing.assert_close(asymmetric_loss(logits, targets, reduction=name), entries.sum() / divisor)
        torch.testing.assert_close(slope_of(logits, targets, reduction=name), slope / divisor)
    with pytest.raises(ValueError, match="no reduction 'average'; there are none, sum"):
        known("average")


def test_axes_before_the_classes_are_examples():
    logits, targets = batch("few", 12)
    cube, marks = logits.reshape(3, 4, 7), targets.reshape(3, 4, 7)
    assert torch.equal(asymmetric_loss(cube, marks), asymmetric_loss(logits, targets))
    assert asymmetric_loss(cube, marks, reduction="none").shape == cube.shape
    torch.testing.assert_close(asymmetric_loss(cube, marks, reduction="mean_samples"), asymmetric_loss(logits, targets) / 12)
    assert torch.equal(slope_of(cube, marks).reshape(12, 7), slope_of(logits, targets))


def test_columns_of_a_bigger_tensor_are_no_different_from_a_copy():
    wide, targets = torch.randn(5, 12), (torch.rand(5, 12) < 0.2).float()
    there, back = (slope_of(z[:, ::2], targets[:, ::2]) for z in (wide, wide.clone()))
    flipped = slope_of(wide.t().contiguous().t()[:, ::2], targets[:, ::2])
    assert torch.equal(there, back) and torch.equal(there, flipped)


@pytest.mark.parametrize("reduction", ["sum", "mean", "mean_samples"])
def test_no_examples_cost_nothing(reduction):
    assert asymmetric_loss(torch.zeros(0, 5), torch.zeros(0, 5), reduction=reduction).item() == 0


@pytest.mark.parametrize("value", [-1.0, 1.5, float("nan")])
def test_a_target_that_is_no_probability_is_refused(value):
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        asymmetric_loss(torch.zeros(2, 2), torch.tensor([[0.0, value], [1.0, 0.0]]))


@pytest.mark.parametrize("settings", [{"gamma_neg": -1}, {"gamma_pos": float("nan")}, {"margin": 1.0}, {"margin": -0.1}, {"margin": 1e-9}])
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Asymmetry(**settings)


# ---- extremes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "asymmetry", [*SETTINGS, Asymmetry(4, 0, 0.05, eps_compat=True), Asymmetry(0.5, 0.5, 0.05, eps_compat=True)], ids=str
)
def test_value_and_gradient_are_finite_at_any_logit(asymmetry, dtype):
    biggest = torch.finfo(dtype).max / 4
    ends = torch.tensor([biggest, 100.0, 88.8, 80.0, 30.0, 16.0, 1e-30, 0.0], dtype=dtype)
    logits = torch.cat([ends, -ends])[:, None]
    for targets in (torch.zeros_like(logits), torch.ones_like(logits), torch.full_like(logits, 0.3)):
        assert asymmetric_loss(logits, targets, asymmetry, reduction="none").isfinite().all()
        slope = slope_of(logits, targets, asymmetry)
        assert slope.dtype == dtype and slope.isfinite().all()


def test_a_hopeless_positive_still_pulls_with_all_its_force():
    for z in (-30.0, -200.0):
        assert slope_of(torch.tensor([[z]]), torch.ones(1, 1)).item() == pytest.approx(-1)
        assert asymmetric_loss(torch.tensor([[z]]), torch.ones(1, 1)).item() == pytest.approx(-z)
    clamped = Asymmetry(4, 0, 0.05, eps_compat=True)
    assert slope_of(torch.tensor([[-30.0]]), torch.ones(1, 1), clamped).item() == 0
    assert asymmetric_loss(torch.tensor([[-30.0]]), torch.ones(1, 1), clamped).item() == pytest.approx(-math.log(1e-8))


def test_the_authors_clamp_stops_both_sides_alike():
    clamped, wrong = Asymmetry(0, 0, 0, eps_compat=True), torch.tensor([[20.0, -20.0]], dtype=torch.float64)
    targets = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    assert slope_of(wrong, targets, clamped).tolist() == [[0, 0]]
    assert slope_of(wrong, targets, BCE).tolist() == [[pytest.approx(1), pytest.approx(-1)]]


def test_a_hopeless_negative_is_taken_for_a_wrong_label():
    one, zero = torch.tensor([[100.0]]), torch.zeros(1, 1)
    assert slope_of(one, zero, PAPER).item() == 0
    assert asymmetric_loss(one, zero, PAPER).item() == pytest.approx(-(0.95**4) * math.log(0.05))
    # without a margin the weight is 1 there and nothing is let go
    assert slope_of(one, zero, Asymmetry(2, 2, 0)).item() == pytest.approx(1)


def test_half_precision_logits_under_autocast_are_computed_in_full():
    logits, targets = batch("few", dtype=torch.float32)
    half = (logits * 10).to(torch.float16).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = asymmetric_loss(half, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, asymmetric_loss(half.detach().float(), targets))
    (loss * 1024).backward()
    torch.testing.assert_close(half.grad.float(), slope_of(half.float(), targets) * 1024, rtol=1e-3, atol=1e-4)


# ---- autograd ---------------------------------------------------------------------------------------------------------


def test_it_leaves_the_grad_mode_alone_and_keeps_nothing_without_it():
    logits, targets = batch("few")
    logits.requires_grad_()
    with torch.no_grad():
        assert not asymmetric_loss(logits, targets).requires_grad
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        asymmetric_loss(logits, targets)
    assert asymmetric_loss(logits, targets).requires_grad and torch.is_grad_enabled()


def test_a_graph_may_be_walked_again_and_gradients_add_up():
    logits, targets = batch("few")
    once = slope_of(logits, targets)
    logits.requires_grad_()
    loss = asymmetric_loss(logits, targets)
    for times in (1, 2, 3):
        loss.backward(retain_graph=True)
        torch.testing.assert_close(logits.grad, once * times)
    logits.grad.zero_()  # must not reach what the graph keeps
    loss.backward()
    torch.testing.assert_close(logits.grad, once)


def test_a_second_derivative_is_refused_not_wrong():
    logits, targets = batch("few")
    logits.requires_grad_()
    (slope,) = torch.autograd.grad(asymmetric_loss(logits, targets) ** 2, logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


COMPILED = """
import torch
from pellucid.losses.asymmetric import Asymmetry, asymmetric_loss

compiled = torch.compile(asymmetric_loss, fullgraph=True)
for soft in (False, True):
    logits, targets, present = torch.randn(9, 7), torch.rand(9, 7), torch.rand(9, 7) < 0.8
    targets = targets if soft else (targets < 0.15).float()
    there, here = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = [loss(z, targets, Asymmetry(), present) for loss, z in ((compiled, there), (asymmetric_loss, here))]
    sum(found).backward()
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(there.grad, here.grad, rtol=1e-4, atol=1e-6)
"""


@pytest.mark.slow
def test_a_compiled_loss_has_no_graph_break_and_the_same_numbers():
    # in a process of its own: the hook that checks shapes in tests cannot be compiled
    ran = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


# ---- one label --------------------------------------------------------------------------------------------------------


def test_for_one_label_without_gamma_pos_and_smoothing_it_is_cross_entropy():
    logits, labels = torch.randn(6, 5), torch.randint(5, (6,))
    for gamma_neg in (0.0, 4.0):
        found = single_label_asymmetric_loss(logits, labels, gamma_neg, smoothing=0.0)
        torch.testing.assert_close(found, functional.cross_entropy(logits, labels))


def test_for_one_label_indices_and_their_rows_of_a_unit_matrix_are_the_same():
    logits, labels = torch.randn(6, 5), torch.randint(5, (6,))
    rows = functional.one_hot(labels, 5).float()
    assert torch.equal(single_label_asymmetric_loss(logits, labels), single_label_asymmetric_loss(logits, rows))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 4.0])
def test_for_one_label_gradients_are_finite_at_certainty(gamma):
    logits = torch.tensor([[200.0, 0.0, -200.0], [0.0, 200.0, 0.0]], requires_grad=True)
    loss = single_label_asymmetric_loss(logits, torch.tensor([0, 2]), gamma, gamma)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
