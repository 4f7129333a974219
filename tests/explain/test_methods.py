"""The table of methods: one call for all, listed without loading torch."""

import subprocess
import sys

import pytest
import torch

from pellucid.errors import BadUsage
from pellucid.explain import catalog
from pellucid.explain.attribution import Statistics, baseline
from pellucid.explain.methods import METHODS
from pellucid.explain.probe import ask
from toys import Pictures, Sentences, pictures, sentences


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
    probe, alone = (ask(task, task.collate(some), site) for some in (rows, rows[1:2]))
    statistics = Statistics(torch.zeros(probe.units.shape[-1]), torch.ones(probe.units.shape[-1]))
    found, single = METHODS[name](probe, statistics, 0), METHODS[name](alone, statistics, 0)
    assert found.relevance.shape == probe.present.shape and found.relevance.isfinite().all()
    assert (found.relevance[~probe.present] == 0).all()
    torch.testing.assert_close(found.relevance[1][probe.present[1]], single.relevance[0], rtol=1e-3, atol=1e-4)
    assert (found.gap is not None) == (name == "integrated_gradients")


def test_an_unknown_baseline_names_those_there_are():
    task = Pictures()
    probe = ask(task, task.collate(pictures()))
    with pytest.raises(BadUsage, match="no baseline 'blur'; there are mean, zero"):
        baseline(probe, "blur")
