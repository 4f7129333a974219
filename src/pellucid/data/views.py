"""How a picture becomes what a model sees, when measured and while training: plain values, importable without torch."""

from dataclasses import dataclass
from typing import Literal

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class TestView:
    """The one view a picture is measured by.

    Args:
        size: height and width of the model's input, in pixels.
        crop: share of the resized picture that the centre crop keeps; the short side becomes `floor(size / crop)`.
        fit: `crop` keeps the picture's proportions and cuts the centre out, `squish` pulls the whole picture into the square.
        mean: of the pixel values (0 to 1) that the network was trained with, per channel; empty takes the network's own.
        std: the same; ASL's TResNet takes mean 0 and std 1.
    """

    size: int = 224
    crop: float = 0.875
    fit: Literal["crop", "squish"] = "crop"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrainView:
    """The random views a picture is trained by; size 0 takes the test view's.

    Args:
        fit: `random_crop` cuts out a random part (`scale` of the area, `ratio` of the sides; RandomResizedCrop), `pad` shifts the
            whole picture within `padding` pixels of border, `squish` pulls the whole picture into the square.
        flip: probability of a mirror image.
        rand_augment: RandAugment in timm's notation, as `rand-m7-mstd0.5-inc1`; empty for none.
        color_jitter: range of brightness, contrast and saturation factors around 1; left out where RandAugment is on.
        cutout: side of a rectangle painted in one random colour, as a share of the picture's (ASL's training script).
        erasing: probability of a rectangle of noise (Zhong et al. 2020).
    """

    size: int = 0
    fit: Literal["random_crop", "pad", "squish"] = "random_crop"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    padding: int = 4
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    flip: float = 0.5
    rand_augment: str = ""
    color_jitter: float = 0.0
    cutout: float = 0.0
    erasing: float = 0.0


@dataclass(frozen=True)
class Mix:
    """Pictures of a batch mixed in pairs, each with its mirror place in the batch (Zhang et al. 2018; Yun et al. 2019).

    Args:
        mixup: parameter of the Beta law of the mixing share; 0 for none.
        cutmix: the same for pasting a rectangle instead.
        prob: of mixing a batch at all.
        switch: of CutMix where both are on.
        mode: one share for the batch, for every picture (`elem`), or for every pair.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    prob: float = 1.0
    switch: float = 0.5
    mode: Literal["batch", "pair", "elem"] = "batch"
