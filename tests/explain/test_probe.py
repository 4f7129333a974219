"""The probe reads and replaces units, and leaves the model as it found it whatever happens."""

import pytest
import torch
from torch import nn

from pellucid.errors import BadUsage
from pellucid.explain.probe import ask, replaced, still
from pellucid.task import Site
from toys import Pictures, Sentences, pictures, sentences


def test_hooks_are_gone_after_an_error_in_the_model():
    task = Pictures()
    probe = ask(task, task.collate(pictures()), "body")
    before = [m.training for m in task.model.modules()]
    task.model.head.weight.data = torch.randn(5, 7)  # a shape that does not fit
    with pytest.raises(RuntimeError):
        probe.score(probe.units)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in task.model.modules())
    assert [m.training for m in task.model.modules()] == before
    assert all(p.requires_grad for p in task.model.parameters())
    assert torch.backends.mha.get_fastpath_enabled()


def test_modes_come_back_module_by_module():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].eval()
    model[1].weight.requires_grad_(False)
    with still(model):
        assert not model[1].training and not any(p.requires_grad for p in model.parameters())
    assert [m.training for m in model.modules()] == [True, False, True]
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, True]


def test_a_site_that_runs_twice_is_refused():
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(BadUsage, match="ran 2 times"), replaced(model, Site("0", "b d"), lambda x: x):
        model(torch.ones(1, 2)), model(torch.ones(1, 2))


def test_an_unknown_site_names_those_there_are():
    task = Sentences()
    with pytest.raises(BadUsage, match="no site 'stem'; this task has input, encoder"):
        ask(task, task.collate(sentences()), "stem")


@pytest.mark.parametrize("site", ["input", "encoder"])
def test_chunks_change_no_score(site):
    task = Sentences()
    batch = task.collate(sentences())
    few, many = (ask(task, batch, site, rows=rows) for rows in (1, 64))
    copies = torch.cat([few.units, few.units / 2, few.units * 2])
    torch.testing.assert_close(few.score(copies), many.score(copies))


def test_patches_of_pixels_are_units_and_go_back_where_they_were():
    task = Pictures()
    task.sites = {"input": Site("stem", "b c (h p) (w q)", side="input", unit="c p q", axes={"p": 2, "q": 4}, picture="seen")}
    batch = task.collate(pictures()) | {"seen": torch.zeros(4, 3, 8, 8, dtype=torch.uint8)}
    probe = ask(task, batch)
    assert probe.grid == (4, 2) and probe.units.shape == (4, 8, 24)
    corner = batch["image"][1, :, 2:4, 4:8]  # row 1, column 1
    torch.testing.assert_close(probe.units[1, 3].reshape(3, 2, 4), corner)
    assert probe.names is not None and probe.names[1][3] == "1,1"
    changed = probe.units.clone()
    changed[:, 3] = 0
    blotted = batch["image"].clone()
    blotted[:, :, 2:4, 4:8] = 0
    torch.testing.assert_close(probe.score(changed), task.score(task.model({"image": blotted}), probe.answer))


def test_a_picture_that_does_not_divide_into_patches_is_refused_with_the_sizes():
    task = Pictures()
    task.sites = {"input": Site("stem", "b c (h p) (w q)", side="input", unit="c p q", axes={"p": 3, "q": 4}, picture="image")}
    with pytest.raises(BadUsage, match=r"p=3 does not divide the 8 of 'b c \(h p\) \(w q\)'"):
        ask(task, task.collate(pictures()))
