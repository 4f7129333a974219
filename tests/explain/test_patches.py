"""Pictures with a planted square: methods find the patch that decides, at pixels, feature maps and tokens alike."""

import base64
import dataclasses
import io

import pytest
import torch
from einops import reduce
from PIL import Image

from pellucid.errors import BadUsage
from pellucid.explain.attribution import baseline
from pellucid.explain.bottleneck import smoothed, smoothed_at
from pellucid.explain.degrade import degradations, on_scale
from pellucid.explain.explain import statistics_at
from pellucid.explain.methods import METHODS, configured
from pellucid.explain.patches import encoded, in_blocks, places
from pellucid.explain.probe import ask
from pellucid.explain.words import to_words
from toys import PatchTransformer, SquareNet, Squares, linear_probe, squares, taught

NETS = {"conv": SquareNet, "transformer": PatchTransformer}
FINDERS = ("iba", "integrated_gradients", "occlusion", "lime", "kernel_shap")


@pytest.fixture(scope="module")
def tasks():
    found = {name: taught(Squares(net()), squares(96, 1), 60) for name, net in NETS.items()}
    for task in found.values():
        batch = task.collate(squares(32, 5))
        assert (task.model(batch)["logits"].argmax(-1) == batch["label"]).float().mean() > 0.9
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("net", "site"), [("conv", "input"), ("conv", "body"), ("transformer", "input"), ("transformer", "tokens")])
def test_the_planted_square_is_found_and_its_removal_costs_more_than_chance(tasks, net, site):
    task, examples = tasks[net], squares(16, 2)
    truth = torch.tensor([e["patches"][e["label"]] for e in examples])
    probe, statistics = ask(task, task.collate(examples), site), statistics_at(task, squares(64, 3), site)
    finders = (*FINDERS, "gradcam") if site == "body" else FINDERS
    relevances = {name: METHODS[name](probe, statistics, 0).relevance for name in finders}
    for name, relevance in relevances.items():
        by_patch = torch.tensor([values for _, values in to_words(relevance, probe)])
        least = 0.5 if (name, net, site) == ("iba", "conv", "input") else 0.9  # its noise hides no flat colour in one pass
        assert (by_patch.argmax(1) == truth).float().mean() >= least, name
    found = degradations(on_scale(probe, "log-probability"), relevances, baseline(probe, "mean", statistics))
    assert all((curves.area - curves.random_area).mean() > 0.25 for curves in found.values())


def test_a_tokens_place_is_its_patchs_and_the_class_token_has_none():
    task = Squares(PatchTransformer())
    probe = ask(task, task.collate(squares(2)), "tokens")
    at = places(probe)
    assert probe.grid == (4, 4) and at is not None
    assert at[0, 0].tolist() == [-1, -1] and at[0, 1].tolist() == [0, 0] and at[1, 16].tolist() == [3, 3] and at[1, 6].tolist() == [1, 1]
    words, _ = to_words(probe.units.sum(-1), probe)[0]
    assert len(words) == 16 and words[5] == "1,1"


def test_smoothing_by_places_is_smoothing_over_the_grid():
    values, present = torch.rand(2, 12, 3), torch.ones(2, 12, dtype=torch.bool)
    at = torch.cartesian_prod(torch.arange(3), torch.arange(4)).expand(2, -1, -1)
    torch.testing.assert_close(smoothed_at(values, at, 0.8), smoothed(values, present, (3, 4), 0.8))


def test_a_unit_without_a_place_is_neither_smoothed_nor_smooths():
    at = torch.tensor([[[-1, -1], [0, 0], [0, 1]]])
    found = smoothed_at(torch.tensor([[[9.0], [1.0], [3.0]]]), at, 1.0)[0, :, 0]
    near = torch.tensor(-0.5).exp()  # of the neighbour, one step away
    torch.testing.assert_close(found, torch.tensor([9.0, (1 + 3 * near) / (1 + near), (3 + near) / (1 + near)]))


def test_blocks_are_removed_as_one_and_the_last_are_cut_off_at_the_edge():
    task = Squares()
    probe = ask(task, task.collate(squares(2)), "body")
    blocks = in_blocks(probe, 3)
    assert blocks.grid == (2, 2)
    assert blocks.groups is not None and blocks.groups[0].reshape(4, 4).tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [2, 2, 2, 3]]
    relevance = configured("kernel_shap", {"block": "2"})(probe, None, 0).relevance
    corner = relevance[0].reshape(4, 4)[:2, :2]
    assert (corner == corner[0, 0]).all()
    torch.testing.assert_close(relevance, METHODS["kernel_shap"](in_blocks(probe, 2), None, 0).relevance)


def test_blocks_of_a_wide_grid_are_counted_row_by_row():
    probe = dataclasses.replace(linear_probe(torch.ones(24, 2), torch.ones(1, 24, 2)), grid=(4, 6))
    blocks = in_blocks(probe, 2)
    assert blocks.grid == (2, 3)
    assert blocks.groups is not None and blocks.groups[0].reshape(4, 6)[::2, ::2].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(("name", "options"), [("lime", {"block": "2"}), ("gradcam", {})])
def test_what_needs_rows_and_columns_is_refused_elsewhere(name, options):
    with pytest.raises(BadUsage, match=r"choose a site|at a picture's site"):
        configured(name, options)(linear_probe(torch.ones(4, 2), torch.ones(1, 4, 2)), None, 0)


def test_gradcam_is_refused_at_pixels():
    task = Squares()
    with pytest.raises(BadUsage, match="gradcam weighs the channels of a feature map"):
        METHODS["gradcam"](ask(task, task.collate(squares(2))), None, 0)


def test_gradcam_by_hand():
    task = Squares()
    probe = ask(task, task.collate(squares(3)), "body")
    units = probe.units.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(probe.score(units).sum(), units)
    weight = reduce(slopes, "b n d -> b d", "mean")
    expected = torch.stack([probe.units[i] @ weight[i] for i in range(3)]).relu()
    torch.testing.assert_close(METHODS["gradcam"](probe, None, 0).relevance, expected)


def test_a_small_picture_is_kept_to_the_pixel_and_a_large_one_made_small():
    draw = torch.Generator().manual_seed(0)
    small = torch.randint(0, 256, (3, 32, 20), generator=draw, dtype=torch.uint8)
    kind, _, data = encoded(small).partition(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == "data:image/png" and image.getpixel((1, 1)) == tuple(small[:, 1, 1].tolist())
    large = encoded(torch.randint(0, 256, (3, 600, 300), generator=draw, dtype=torch.uint8))
    assert large.startswith("data:image/jpeg") and Image.open(io.BytesIO(base64.b64decode(large.partition(",")[2]))).size == (112, 224)
