"""How pictures and the patches cut out of them reach a detector that learns without labels: plain values, importable without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PatchView:
    """Random patches of a picture, and the sizes at which picture and patches are seen (Dai et al. 2021).

    Args:
        smallest: least side of a patch, in pixels of the stored picture; a picture needs sides of more than twice as many.
        patch_size: side of the square to which every patch is pulled, whatever its proportions.
        short_sides: of the picture, one of which is drawn for each training view.
        test_side: short side by which it is measured.
        longest: the long side ends here, in pixels, and the short one becomes shorter with it.
        jitter: range of the brightness, contrast and saturation factors of a training patch around 1.
        hue: largest turn of its hues, as a share of the circle.
        jitter_prob: probability that its colours are changed at all.
        grey_prob: that they are taken away.
        blur_prob: that it is blurred.
        blur: range of the Gaussian's deviation, in pixels of the square.
    """

    smallest: int = 8
    patch_size: int = 128
    short_sides: tuple[int, ...] = (320, 336, 352, 368, 400, 416, 432, 448, 464, 480)  # 384 is missing in the original, too
    test_side: int = 480
    longest: int = 600
    jitter: float = 0.4
    hue: float = 0.1
    jitter_prob: float = 0.8
    grey_prob: float = 0.2
    blur_prob: float = 0.5
    blur: tuple[float, float] = (0.1, 2.0)
