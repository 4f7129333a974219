"""The classic full-reference metrics: what each says of a picture beside its reference, mostly as the library piq computes it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from einops import reduce
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.coerce import nearest
from pellucid.errors import BadData, BadUsage
from pellucid.tasks.quality.lpips import SMALLEST, lpips_network

CAP_DB = 100.0  # PSNR of identical pictures, which has no end
_Batch = Float[Tensor, "b 3 h w"]


@dataclass(frozen=True)
class Classic:
    """One metric.

    Args:
        title: as tables name it.
        low: least value it can take.
        high: greatest value; without end for LPIPS, and for VIF, which goes beyond its best where contrast is above the reference's.
        best: of identical pictures, to the last bit.
        smallest: shortest side in pixels that it is defined for.
        source: the paper.
        compute: `(image, reference)` to a value each, of pixels from 0 to 1.
    """

    title: str
    higher_is_better: bool
    low: float
    high: float
    best: float
    smallest: int
    source: str
    compute: Callable[[_Batch, _Batch], Float[Tensor, " b"]]


def measure(name: str, image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    """The metric of each picture, in its own unit and direction; gradients flow to both, except of pictures that are identical.

    Args:
        image: the distorted ones; pixels from 0 to 1, as in `reference`.
    Raises:
        BadUsage: no such metric.
        BadData: the pictures are smaller than it is defined for.
        ValueError: two shapes, or pixels outside 0 to 1.
    """
    metric = find(name)
    if image.shape != reference.shape:
        raise ValueError(f"{name}: pictures of {tuple(image.shape)} beside references of {tuple(reference.shape)}; expected one shape")
    height, width = image.shape[-2:]
    if min(height, width) < metric.smallest:
        raise BadData(
            f"{metric.title} needs pictures of at least {metric.smallest} px a side, got {width} x {height}; enlarge them or take another"
        )
    for pictures in (image, reference):
        low, high = (float(end) for end in torch.aminmax(pictures.detach()))
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{name}: pixels from {low:g} to {high:g}; expected 0 to 1")
    # rounding takes some metrics of equal pictures off their ideal, MDSI by its fourth root far
    return torch.where(same(image, reference), metric.best, metric.compute(image, reference))


def find(name: str) -> Classic:
    """The metric of that name.

    Raises:
        BadUsage: there is none.
    """
    if name not in METRICS:
        raise BadUsage(f"no classic metric {name!r}{nearest(name, list(METRICS))}")
    return METRICS[name]


def same(image: _Batch, reference: _Batch) -> Bool[Tensor, " b"]:
    """Which pictures equal their reference in every pixel."""
    return reduce(image == reference, "b c h w -> b", "min")


# ---- each ---------------------------------------------------------------------------------------------------------


def _luma(image: _Batch) -> Float[Tensor, "b 1 h w"]:
    """Brightness as BT.601 weighs it. Differs: Wang's scripts also round it to whole levels of 255."""
    red, green, blue = image.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _psnr(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    """Decibels over all three colours. Differs: piq adds 1e-8 to the error, which ends at 80 dB; we end at 100."""
    error = reduce((image - reference) ** 2, "b c h w -> b", "mean")
    return -10 * error.clamp_min(10 ** (-CAP_DB / 10)).log10()


def _ssim(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    """Of the luma, Gaussian window of 11 px and 1.5 px deviation, on pictures averaged down to about 256 px a side, as Wang advises."""
    import piq

    return piq.ssim(_luma(image), _luma(reference), reduction="none")


def _ms_ssim(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    """Of the luma at five scales, from the full size down."""
    import piq

    return piq.multi_scale_ssim(_luma(image), _luma(reference), reduction="none")


def _fsim(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    """With colour, which the paper calls FSIMc."""
    import piq

    return piq.fsim(image, reference, reduction="none")


def _vsi(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    import piq

    return piq.vsi(image, reference, reduction="none")


def _mdsi(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    import piq

    return piq.mdsi(image, reference, reduction="none")


def _gmsd(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    import piq

    return piq.gmsd(image, reference, reduction="none")


def _haarpsi(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    import piq

    return piq.haarpsi(image, reference, reduction="none")


def _vif(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    """Of the luma's pixels, the authors' own short cut past the wavelets. A reference without any detail makes it meaningless."""
    import piq

    return piq.vif_p(image, reference, reduction="none")


def _lpips(image: _Batch, reference: _Batch) -> Float[Tensor, " b"]:
    return lpips_network().to(image.device)(image.float(), reference.float()).to(image.dtype)


METRICS: Mapping[str, Classic] = {
    "psnr": Classic("PSNR", True, 0.0, CAP_DB, CAP_DB, 1, "-10 log10 of the mean squared error, in dB", _psnr),
    "ssim": Classic("SSIM", True, -1.0, 1.0, 1.0, 11, "Wang et al. 2004, Image Quality Assessment: From Error Visibility to SSIM", _ssim),
    "ms-ssim": Classic("MS-SSIM", True, 0.0, 1.0, 1.0, 161, "Wang et al. 2003, Multi-scale Structural Similarity", _ms_ssim),
    "fsim": Classic("FSIM", True, 0.0, 1.0, 1.0, 8, "Zhang et al. 2011, FSIM: A Feature Similarity Index", _fsim),
    "vsi": Classic("VSI", True, 0.0, 1.0, 1.0, 8, "Zhang et al. 2014, VSI: A Visual Saliency-Induced Index", _vsi),
    "mdsi": Classic("MDSI", False, 0.0, 1.0, 0.0, 8, "Nafchi et al. 2016, Mean Deviation Similarity Index", _mdsi),
    "gmsd": Classic("GMSD", False, 0.0, 0.5, 0.0, 8, "Xue et al. 2013, Gradient Magnitude Similarity Deviation", _gmsd),
    "haarpsi": Classic("HaarPSI", True, 0.0, 1.0, 1.0, 16, "Reisenhofer et al. 2018, A Haar Wavelet-Based Perceptual Index", _haarpsi),
    "vif": Classic("VIF", True, 0.0, math.inf, 1.0, 41, "Sheikh and Bovik 2006, Image Information and Visual Quality", _vif),
    "lpips": Classic(
        "LPIPS", False, 0.0, math.inf, 0.0, SMALLEST, "Zhang et al. 2018, Unreasonable Effectiveness of Deep Features", _lpips
    ),
}
