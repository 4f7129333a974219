"""Every name of the published VTAMIQs is one of ours and comes back, and the counts of parameters are the published ones."""

import json

import pytest
import torch
from safetensors.torch import load_file

from pellucid import checkpoint
from pellucid.tasks.quality.model import Vtamiq
from pellucid.tasks.quality.names import ours, theirs
from pellucid.tasks.quality.settings import VitShape, published


def named(references, name: str) -> checkpoint.Tensors:
    rows = json.loads((references / f"vision/vtamiq/{name}_state_names.json").read_text())
    return {key: torch.empty(shape, device="meta") for key, shape in rows}


def shapes(tensors) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in tensors.items()}


def count(vit: VitShape, layout: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in Vtamiq(vit, published(layout).head).parameters())


@pytest.mark.parametrize(("name", "year"), [("paper_b16_6L", "2021"), ("head_default_b16_6L", "2024")])
def test_every_published_name_of_b16_is_one_of_ours_and_comes_back(references, name, year):
    file, settings = named(references, name), published(year)
    found, layout = ours(file)
    assert (layout.names, layout.vit, layout.head) == (year, settings.vit, settings.head)
    with torch.device("meta"):
        expected = Vtamiq(settings.vit, settings.head)
    assert shapes(found) == shapes(expected.state_dict())
    assert shapes(theirs(found, layout)) == shapes(file)


@pytest.mark.parametrize(("name", "heads"), [("head_default", 4), ("head_nocalib", 4), ("paper", 4)])
def test_a_reference_file_loads_and_comes_back_to_the_last_bit(references, name, heads):
    file = load_file(references / f"vision/vtamiq/{name}_state.safetensors")
    found, layout = ours(file, heads)
    Vtamiq(layout.vit, layout.head).load_state_dict(found)
    assert layout.vit.heads == heads and checkpoint.same(theirs(found, layout), file)


@pytest.mark.parametrize(
    ("vit", "layout", "expected"),
    [
        (VitShape(registers=0, layer_scale=False, legacy=True), "2021", 57_306_274),
        (VitShape(registers=0, layer_scale=False, legacy=True, blocks=12), "2021", 99_833_506),
        (VitShape(), "2024", 57_322_386),
        (VitShape(registers=0, layer_scale=False, scales=5), "2024", 57_311_634),
        (VitShape(registers=0, layer_scale=False, blocks=12), "2024", 99_834_258),
    ],
)
def test_the_published_sizes_have_the_published_number_of_parameters(vit, layout, expected):
    assert count(vit, layout) == expected
