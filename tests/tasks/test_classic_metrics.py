"""Classic metrics give what their papers define, tell identical pictures exactly, and refuse what they are not defined for."""

import csv
import math

import numpy as np
import pytest
import torch
import torchvision
from einops import rearrange
from PIL import Image
from scipy import ndimage, stats

from pellucid.data import packages
from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.errors import BadData, BadUsage
from pellucid.tasks.quality.classic import METRICS, measure
from pellucid.tasks.quality.lpips import Lpips, lpips_file


def photo(height: int = 176, width: int = 192) -> torch.Tensor:
    """Waves of several lengths, a bright square, colours that differ: 1 3 h w."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = torch.stack([torch.sin(rows / p) * torch.cos(columns / q) for p, q in ((7, 11), (3, 23), (17, 5))])
    image = 0.5 + 0.3 * waves + 0.02 * torch.randn(3, height, width)
    image[:, height // 4 : height // 2, width // 4 : width // 2] += 0.2
    return rearrange(image.clamp(0, 1), "c h w -> 1 c h w")


def noisy(image: torch.Tensor, deviation: float) -> torch.Tensor:
    return (image + deviation * torch.randn_like(image)).clamp(0, 1)


@pytest.fixture
def network(monkeypatch) -> Lpips:
    """LPIPS with drawn weights."""
    made = Lpips().eval().requires_grad_(False)
    for lin in made.lin:
        lin.data.uniform_(0, 1)
    monkeypatch.setattr("pellucid.tasks.quality.classic.lpips_network", lambda: made)
    return made


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.usefixtures("network")
def test_identical_pictures_get_the_best_to_the_last_bit_and_more_noise_is_worse(name):
    reference, metric = photo(), METRICS[name]
    batch = torch.cat([reference, noisy(reference, 0.02), noisy(reference, 0.1), noisy(reference, 0.3)])
    found = measure(name, batch, reference.expand_as(batch)).tolist()
    assert found[0] == metric.best and all(metric.low <= value <= metric.high for value in found)
    assert found == sorted(found, reverse=metric.higher_is_better)
    assert len(set(found)) == 4


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.usefixtures("network")
def test_a_batch_of_one_is_the_row_of_many(name):
    reference = torch.cat([photo(), photo().flip(3)])
    image = noisy(reference, 0.1)
    both = measure(name, image, reference)
    for row in range(2):
        torch.testing.assert_close(measure(name, image[row : row + 1], reference[row : row + 1])[0], both[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.usefixtures("network")
def test_a_step_along_the_gradient_betters_the_picture(name):
    reference, metric = photo(), METRICS[name]
    image = noisy(reference, 0.1).requires_grad_()
    value = measure(name, image, reference)
    (slope,) = torch.autograd.grad(value.sum(), image)
    assert slope.isfinite().all()
    step = (1 if metric.higher_is_better else -1) * 0.002 * slope.sign()
    after = measure(name, (image + step).detach().clamp(0, 1), reference)
    assert (after > value) if metric.higher_is_better else (after < value)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.smallest > 1])
@pytest.mark.usefixtures("network")
def test_the_smallest_picture_is_measured_and_a_pixel_less_refused_by_name_and_size(name):
    side = METRICS[name].smallest
    reference = photo(side, side + 9)
    assert measure(name, noisy(reference, 0.1), reference).isfinite().all()
    small = photo(side - 1, side + 9)
    with pytest.raises(BadData, match=f"{METRICS[name].title} needs pictures of at least {side} px a side, got {side + 9} x {side - 1}"):
        measure(name, small, small)


def test_psnr_of_one_grey_level_is_48_decibels_and_ends_at_a_hundred():
    reference = torch.full((1, 3, 4, 4), 100 / 255)
    one = measure("psnr", reference + 1 / 255, reference)
    assert one.item() == pytest.approx(20 * math.log10(255), abs=1e-3)
    nearly = reference.double()
    assert measure("psnr", nearly + 1e-7, nearly).item() == 100


def test_ssim_is_wangs_formula_on_the_luma():
    reference = photo(60, 70)
    image = noisy(reference, 0.1)
    x, y = (np.tensordot([0.299, 0.587, 0.114], picture[0].double().numpy(), 1) for picture in (image, reference))

    def smooth(values):
        return ndimage.gaussian_filter(values, 1.5, radius=5)[5:-5, 5:-5]  # the places whose window lies inside

    x_mean, y_mean = smooth(x), smooth(y)
    x_var, y_var, cov = smooth(x * x) - x_mean**2, smooth(y * y) - y_mean**2, smooth(x * y) - x_mean * y_mean
    light = (2 * x_mean * y_mean + 0.01**2) / (x_mean**2 + y_mean**2 + 0.01**2)
    expected = (light * (2 * cov + 0.03**2) / (x_var + y_var + 0.03**2)).mean()
    assert measure("ssim", image, reference).item() == pytest.approx(expected, abs=1e-5)


def test_brightness_and_structure_alone_count_for_ssim_and_colour_for_psnr():
    reference = photo()
    luma = torch.tensor([0.299, 0.587, 0.114])
    change = torch.tensor([0.587, -0.299, 0.0]) * 0.1  # of no brightness
    assert abs(float(luma @ change)) < 1e-8
    shifted = reference * 0.6 + 0.2
    image = shifted + rearrange(change, "c -> 1 c 1 1")
    assert measure("ssim", image, shifted).item() > 0.9999 and measure("ms-ssim", image, shifted).item() > 0.9999
    assert measure("psnr", image, shifted).item() == pytest.approx(-10 * math.log10(float((change**2).mean())), abs=1e-3)


def test_vif_knows_which_of_the_two_is_the_reference():
    sharp = photo()
    flat = sharp * 0.5 + 0.25
    assert measure("vif", sharp, flat).item() > 1 > measure("vif", flat, sharp).item()


def test_an_unknown_metric_two_shapes_and_strange_pixels_are_refused():
    with pytest.raises(BadUsage, match="no classic metric 'ssmi'; did you mean 'ssim'"):
        measure("ssmi", photo(), photo())
    with pytest.raises(ValueError, match=r"vsi: pixels from 0 to 255; expected 0 to 1"):
        measure("vsi", torch.tensor([0.0, 255.0]).expand(1, 3, 20, 2).repeat(1, 1, 1, 10), torch.zeros(1, 3, 20, 20))
    with pytest.raises(ValueError, match="expected 0 to 1"):
        measure("psnr", torch.full((1, 3, 2, 2), math.nan), torch.zeros(1, 3, 2, 2))


# ---- LPIPS --------------------------------------------------------------------------------------------------------


def test_lpips_is_the_weighted_distance_of_torchvisions_alexnet_features(network):
    theirs = torchvision.models.alexnet(weights=None).features[:12].eval().requires_grad_(False)
    convs = [at for at, layer in enumerate(theirs) if isinstance(layer, torch.nn.Conv2d)]
    for ours, at in zip(network.trunk, convs, strict=True):
        ours.load_state_dict(theirs[at].state_dict())
    reference = photo(67, 80)
    image = noisy(reference, 0.2)
    normalised = [torchvision.transforms.functional.normalize(picture, IMAGENET_MEAN, IMAGENET_STD) for picture in (image, reference)]
    total = 0.0
    for lin, at in zip(network.lin, convs, strict=True):
        x, y = (torch.nn.functional.normalize(theirs[: at + 2](picture), dim=1) for picture in normalised)
        total += float(((x - y).square() * lin).sum(1).mean())
    assert network(image, reference).item() == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(network(reference, image), network(image, reference))
    assert network(image, image).item() == 0


def test_lpips_of_dark_places_has_finite_gradients(network):
    black = torch.zeros(1, 3, 40, 40, requires_grad=True)
    for conv in network.trunk:
        conv.bias.fill_(-9.0)  # no feature is alive
    network(black, torch.ones(1, 3, 40, 40)).sum().backward()
    assert black.grad.isfinite().all()


def test_the_published_weights_are_all_in_place_and_weigh_no_feature_negatively():
    if not (packages.cache_folder() / "packages" / packages.LPIPS_ALEX.file).is_file():
        pytest.skip("the package is not in the cache")
    from pellucid.tasks.quality.lpips import lpips_network

    file = lpips_file()
    assert "BSD-2-Clause (LPIPS" in (file.parent / "SOURCE").read_text()
    network = lpips_network()
    assert sum(p.numel() for p in network.parameters()) == 2_469_696 + 1_152  # features[:12] of AlexNet, five lines
    assert all((lin >= 0).all() and (lin > 0).any() for lin in network.lin)


# ---- human scores -------------------------------------------------------------------------------------------------


def live(shared, name: str) -> float:
    """Rank correlation with the scores of 41 distorted pictures, signed so that agreement is positive."""
    folder = shared / "data/live_iqa_subset"
    rows = [row for row in csv.DictReader((folder / "scores.csv").open()) if row["assigned_by"] != "identical"]

    def pixels(file: str) -> torch.Tensor:
        return torch.from_numpy(rearrange(np.array(Image.open(folder / "images" / file).convert("RGB")), "h w c -> 1 c h w")) / 255

    with torch.no_grad():
        found = [measure(name, pixels(row["distorted"]), pixels(row["reference"])).item() for row in rows]
    rank = stats.spearmanr(found, [float(row["dmos"]) for row in rows]).statistic
    return -rank if METRICS[name].higher_is_better else rank


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"), [("ssim", 0.87), ("ms-ssim", 0.87), ("fsim", 0.9), ("vsi", 0.9), ("mdsi", 0.91), ("haarpsi", 0.91), ("lpips", 0.9)]
)
def test_metrics_order_pictures_of_live_about_as_people_do(name, least, shared):
    if name == "lpips" and not (packages.cache_folder() / "packages" / packages.LPIPS_ALEX.file).is_file():
        pytest.skip("the package is not in the cache")
    assert least < live(shared, name) < least + 0.07
