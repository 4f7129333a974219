"""Our methods give captum's numbers on the same model, from the same draws where there are any."""

import captum.attr
import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr._core.lime import get_exp_kernel_similarity_function
from einops import rearrange

from pellucid.explain.attribution import Statistics, baseline, completeness_gap
from pellucid.explain.draw import Draw
from pellucid.explain.gradient import expected_gradients, gradient, gradient_x_input, integrated_gradients, smoothgrad
from pellucid.explain.perturb import occlusion
from pellucid.explain.probe import Probe, ask
from pellucid.explain.surrogate import RIDGE, coalitions, kernel_shap, lime, nearby
from pellucid.explain.words import by_player, player_counts, players
from toys import Pictures, Sentences, pictures, sentences

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def of_sentences(site: str = "input") -> Probe:
    task = Sentences()
    return ask(task, task.collate(sentences()), site)


def of_pictures(site: str = "body") -> Probe:
    task = Pictures()
    return ask(task, task.collate(pictures()), site)


def shown(probe: Probe, theirs: torch.Tensor) -> torch.Tensor:
    """What captum gives padding is not asked."""
    return theirs.masked_fill(~probe.present, 0.0)


@pytest.mark.parametrize("ask_about", [of_sentences, of_pictures])
def test_gradients_equal_saliency(ask_about):
    probe = ask_about()
    saliency = captum.attr.Saliency(probe.score)
    units = probe.units.clone().requires_grad_()
    sized, signed = (saliency.attribute(units, abs=sizes).detach() for sizes in (True, False))
    expected = {"absolute": sized.sum(-1), "largest": sized.amax(-1), "norm": signed.norm(dim=-1), "signed": signed.sum(-1)}
    for reading, theirs in expected.items():
        torch.testing.assert_close(gradient(probe, reading).relevance, shown(probe, theirs), **TOLERANCE)


@pytest.mark.parametrize("ask_about", [of_sentences, of_pictures])
def test_gradient_x_input_equals_input_x_gradient(ask_about):
    probe = ask_about()
    theirs = captum.attr.InputXGradient(probe.score).attribute(probe.units.clone().requires_grad_()).detach()
    torch.testing.assert_close(gradient_x_input(probe).relevance, shown(probe, theirs.sum(-1)), **TOLERANCE)


@pytest.mark.parametrize(("ask_about", "site"), [(of_sentences, "input"), (of_sentences, "encoder"), (of_pictures, "input")])
@pytest.mark.parametrize(("rule", "method"), [("midpoint", "riemann_middle"), ("gausslegendre", "gausslegendre")])
def test_integrated_gradients_and_their_gap_equal_captums(ask_about, site, rule, method):
    probe = ask_about(site)
    start = baseline(probe)
    ours = integrated_gradients(probe, start, 20, rule)
    theirs, delta = captum.attr.IntegratedGradients(probe.score).attribute(
        probe.units, start, n_steps=20, method=method, return_convergence_delta=True
    )
    torch.testing.assert_close(ours.relevance, theirs.sum(-1), **TOLERANCE)
    with torch.no_grad():
        change = probe.score(probe.units) - probe.score(start)
    torch.testing.assert_close(ours.gap * change, delta.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(completeness_gap(probe, ours.relevance, start), ours.gap)


def test_expected_gradients_equal_gradient_shap_on_the_same_draws(monkeypatch):
    """GradientShap draws one baseline and one place per copy; it is told ours: each baseline at both places."""
    probe, pool = of_pictures(), torch.randn(3, 4, 16)  # 4 units of 16 numbers
    samples, b = 6, len(probe.units)
    draw = Draw(probe.present.sum(1), 5)
    index = [int(draw.uniform(1)[0, 0, 0] * 3) for _ in range(samples)]  # examples of one size share draws
    assert len(set(index)) > 1
    places = (1 + np.polynomial.legendre.leggauss(2)[0]) / 2
    monkeypatch.setattr(np.random, "choice", lambda *_: np.tile(np.repeat(index, 2), b))
    monkeypatch.setattr(np.random, "uniform", lambda *_: np.tile(places, samples * b))
    theirs = captum.attr.GradientShap(probe.score).attribute(probe.units, pool, n_samples=2 * samples)
    ours = expected_gradients(probe, pool, samples, seed=5)
    torch.testing.assert_close(ours.relevance, theirs.sum(-1), **TOLERANCE)


def test_smoothgrad_equals_a_noise_tunnel_with_the_same_noise(monkeypatch):
    probe, spread, samples = of_sentences(), torch.rand(8) + 0.5, 6
    draw = Draw(probe.present.sum(1), 3)
    noise = 0.2 * spread * torch.stack([draw.normal(1, probe.present, 8)[0] for _ in range(samples)])
    monkeypatch.setattr(torch, "normal", lambda *_: rearrange(noise, "k b n d -> (b k) n d"))
    ours = smoothgrad(probe, Statistics(torch.zeros(8), spread), samples, 0.2, "signed", seed=3)

    def score(units: torch.Tensor) -> torch.Tensor:
        return rearrange(probe.score(rearrange(units, "(b k) n d -> (k b) n d", k=samples)), "(k b) -> (b k)", k=samples)

    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(score))
    theirs = tunnel.attribute(probe.units, nt_type="smoothgrad", nt_samples=samples, stdevs=1.0, abs=False)
    torch.testing.assert_close(ours.relevance, shown(probe, theirs.sum(-1)), **TOLERANCE)


@pytest.mark.parametrize(("window", "stride"), [((1,), (1,)), ((3,), (1,)), ((5,), (2,))])
def test_occlusion_in_a_row_equals_captums(window, stride):
    probe = of_pictures("input")
    row = Probe(probe.units, probe.present, probe.score, probe.answer, grid=(64,))
    start = baseline(probe)
    theirs = captum.attr.Occlusion(probe.score).attribute(probe.units, (*window, 3), (*stride, 3), start)
    torch.testing.assert_close(occlusion(row, start, window, stride).relevance, theirs[..., 0], **TOLERANCE)


@pytest.mark.parametrize(("window", "stride"), [((1, 1), (1, 1)), ((3, 3), (1, 2)), ((3, 2), (2, 2))])
def test_occlusion_on_a_grid_equals_captums(window, stride):
    probe = of_pictures("input")
    start = baseline(probe)

    def score(picture: torch.Tensor) -> torch.Tensor:
        return probe.score(rearrange(picture, "kb h w d -> kb (h w) d"))

    pictured = (rearrange(units, "b (h w) d -> b h w d", h=8) for units in (probe.units, start))
    picture, nothing = pictured
    theirs = captum.attr.Occlusion(score).attribute(picture, (*window, 3), (*stride, 3), nothing)
    expected = rearrange(theirs[..., 0], "b h w -> b (h w)")
    torch.testing.assert_close(occlusion(probe, start, window, stride).relevance, expected, **TOLERANCE)


def one_sentence() -> tuple[Probe, torch.Tensor, int]:
    """A probe of one sentence of five words, captum's feature of each of its numbers, and how many words there are.

    What is in no word is a last feature, which no variant loses.
    """
    task = Sentences()
    probe = ask(task, task.collate(sentences()[2:3]))
    owner = players(probe)
    size = int(player_counts(owner))
    return probe, owner.where(owner >= 0, size)[..., None].expand_as(probe.units), size


def with_the_rest(kept: torch.Tensor) -> torch.Tensor:
    return torch.cat([kept, torch.ones(len(kept), 1)], 1).long()


def test_lime_equals_captums_on_the_same_variants():
    probe, features, size = one_sentence()
    start, samples = baseline(probe), 60
    kernel = get_exp_kernel_similarity_function("cosine", 0.25)

    def variants(_, **__):
        yield from with_the_rest(nearby(size, samples, 0.25, 7).kept)[:, None]

    def near(_, __, kept, **___):  # captum's kernel, asked about the words alone
        return kernel(torch.ones(1, size), kept[:, :size].float(), None)

    peer = captum.attr.Lime(probe.score, SkLearnRidge(alpha=RIDGE), near, variants)
    theirs = peer.attribute(probe.units, start, feature_mask=features, n_samples=samples, return_input_shape=False)
    ours = by_player(lime(probe, start, samples, seed=7).relevance, players(probe))
    torch.testing.assert_close(ours, theirs[:, :size], **TOLERANCE)
    assert ours.abs().max() > 0.05


def test_kernel_shap_equals_captums_on_the_same_variants():
    probe, features, size = one_sentence()
    start, samples = baseline(probe), 20  # of 32 sets
    design = coalitions(size, samples, 7)
    weights = iter(design.weight.tolist())

    class Peer(captum.attr.KernelShap):
        def kernel_shap_perturb_generator(self, _, **__):
            yield from with_the_rest(design.kept)[:, None]

        def kernel_shap_similarity_kernel(self, _, __, kept, **___):
            return torch.tensor([next(weights) or 1e4])  # in place of the condition on the first two, a great weight

    theirs = Peer(probe.score).attribute(probe.units, start, feature_mask=features, n_samples=len(design.kept), return_input_shape=False)
    ours = by_player(kernel_shap(probe, start, samples, seed=7).relevance, players(probe))
    torch.testing.assert_close(ours, theirs[:, :size], **TOLERANCE)
    assert ours.abs().max() > 0.05


def test_kernel_shap_of_few_units_equals_captums_exact_shapley_values():
    probe = of_pictures()
    start = baseline(probe)
    features = torch.arange(4)[None, :, None].repeat(1, 1, 16)
    theirs = captum.attr.ShapleyValues(probe.score).attribute(probe.units, start, feature_mask=features)
    torch.testing.assert_close(kernel_shap(probe, start, 16).relevance, theirs[..., 0], **TOLERANCE)
