"""How a picture with boxes becomes what a detector sees, when measured and while training: plain values, importable without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BoxView:
    """The one view a picture is measured by: the whole of it, its proportions kept.

    Args:
        short: length of the short side, in pixels.
        longest: what the long side may not exceed but by rounding; the short side then gives way. 0 for no bound.
        mean: of the pixel values (0 to 1) that the network was trained with, per channel; empty takes the network's own.
        std: the same.
    """

    short: int = 800
    longest: int = 1333
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class BoxTrainView:
    """The random views a picture is trained by: mirrored, resized, and some of them cut before (Carion et al. 2020).

    Args:
        shorts: lengths of the short side, of which one is drawn.
        longest: as in `BoxView`.
        flip: probability of a mirror image.
        crop_prob: probability that, before, the short side is brought to one of `crop_shorts` and a part is cut out of that.
        crop_range: bounds of the part's width and of its height, each drawn for itself; of a smaller picture all.
    """

    shorts: tuple[int, ...] = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
    longest: int = 1333
    flip: float = 0.5
    crop_prob: float = 0.5
    crop_shorts: tuple[int, ...] = (400, 500, 600)
    crop_range: tuple[int, int] = (384, 600)
