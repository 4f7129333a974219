"""The table of methods: one call for all, settings by name, listed without loading torch."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.explain import catalog
from pellucid.explain.attribution import Statistics, baseline
from pellucid.explain.check import check_method
from pellucid.explain.gradient import integrated_gradients
from pellucid.explain.methods import METHODS, configured, options_of
from pellucid.explain.perturb import occlusion
from pellucid.explain.probe import Attention, Probe, ask
from toys import Pictures, Sentences, linear_probe, pictures, sentences

OF_MAPS = {"gradcam"}  # needs channels over rows and columns
COMPLETE = {"integrated_gradients", "expected_gradients", "kernel_shap"}


def asked(task, examples, site) -> Probe:
    """The task's probe, with an attention, a query, and a sum, that look at every real unit alike."""
    probe = ask(task, task.collate(examples), site)
    even = probe.present / probe.present.sum(1, keepdim=True)
    attention = Attention(even[None, :, None, None].expand(2, -1, 1, even.shape[1], -1), even)
    return dataclasses.replace(probe, attention=lambda: attention, looked=lambda: even[:, None], pooled=lambda: even[:, None])


def test_the_catalog_lists_every_method_without_torch():
    assert list(catalog.METHODS) == list(METHODS)
    program = "import sys, pellucid.explain.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("task", "examples", "site"), [(Pictures(), pictures, "body"), (Sentences(), sentences, "encoder")], ids=["b d h w", "n b d"]
)
def test_every_method_explains_every_layout_the_same_alone_and_in_a_batch(name, task, examples, site):
    rows = examples()
    probe, alone = (asked(task, some, site) for some in (rows, rows[1:2]))
    if name in OF_MAPS and len(probe.grid) < 2:
        pytest.skip(f"{name} is of maps alone")
    statistics = Statistics(torch.zeros(probe.units.shape[-1]), torch.ones(probe.units.shape[-1]))
    found, single = METHODS[name](probe, statistics, 0), METHODS[name](alone, statistics, 0)
    assert found.relevance.shape == probe.present.shape and found.relevance.isfinite().all()
    assert (found.relevance[~probe.present] == 0).all()
    torch.testing.assert_close(found.relevance[1][probe.present[1]], single.relevance[0], rtol=1e-3, atol=1e-4)
    assert (found.gap is not None) == (name in COMPLETE)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in {"iba", "random"} | OF_MAPS])
def test_every_method_keeps_its_promises_where_the_truth_is_known(name):
    assert [row for row in check_method(name) if not row["ok"]] == []


@pytest.mark.parametrize("name", [name for name in METHODS if name not in OF_MAPS])
def test_every_setting_can_be_told_as_text(name):
    probe = linear_probe(torch.ones(3, 2), torch.ones(2, 3, 2))
    third = torch.full((2, 1, 3), 1 / 3)
    attention = Attention(third[None, :, :, None].expand(1, 2, 1, 3, 3), third[:, 0])
    probe = dataclasses.replace(probe, attention=lambda: attention, looked=lambda: third, pooled=lambda: third)
    told = {option: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for option, v in options_of(name).items()}
    statistics = Statistics(torch.zeros(2), torch.ones(2))
    expected, found = METHODS[name](probe, statistics, 0), configured(name, told)(probe, statistics, 0)
    assert found.relevance.tolist() == expected.relevance.tolist()


def test_settings_reach_the_method():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    found = configured("integrated_gradients", {"baseline": "zero", "steps": "3", "rule": "gausslegendre"})(probe, None, 0)
    expected = integrated_gradients(probe, torch.zeros_like(probe.units), 3, "gausslegendre")
    assert found.relevance.tolist() == expected.relevance.tolist() and found.note == "3 steps, gausslegendre"
    found = configured("occlusion", {"window": "2,1", "stride": "1"})(probe, None, 0)
    assert found.relevance.tolist() == occlusion(probe, baseline(probe), (2, 1), (1,)).relevance.tolist()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ocllusion", {}, "no method 'ocllusion'; did you mean 'occlusion'"),
        ("lime", {"sample": "3"}, "lime has no option 'sample'; did you mean 'samples'"),
        ("gradient_x_input", {"steps": "3"}, "gradient_x_input has no option 'steps'; it has none"),
        ("lime", {"samples": "many"}, "lime.samples=many: expected int"),
        ("integrated_gradients", {"baseline": "cut"}, "integrated_gradients.baseline=cut; there are mean, zero"),
        ("gradient", {"reading": "sign"}, "gradient.reading=sign; did you mean 'signed'"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_there_is(name, options, message):
    with pytest.raises(BadUsage, match=message):
        configured(name, options)


def test_a_tasks_words_are_cut_out_where_the_site_can():
    probe = linear_probe(torch.ones(2, 1), torch.ones(1, 2, 1))
    with pytest.raises(BadUsage, match="cannot be cut out"):
        configured("lime", {"baseline": "cut"})(probe, None, 0)


def test_an_unknown_baseline_names_those_there_are():
    task = Pictures()
    probe = ask(task, task.collate(pictures()))
    with pytest.raises(BadUsage, match="no baseline 'blur'; there are mean, zero"):
        baseline(probe, "blur")
