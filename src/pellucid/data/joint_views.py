"""How a picture with boxes and a map becomes what a network sees, when measured and while training: plain values, no torch needed."""

from dataclasses import dataclass
from typing import Literal

Range = tuple[float, float]


@dataclass(frozen=True)
class JointView:
    """The one view a picture is measured by: the whole of it, pulled into a square.

    Args:
        size: the square's side, in pixels.
        mean: of the pixel values (0 to 1) that the network was trained with, per channel; empty takes the network's own.
        std: the same.
    """

    size: int = 300
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class JointTrainView:
    """The random views a picture is trained by, as BlitzNet's authors have them: colours, zoom out, crop, flip, in this order.

    Args:
        colour_prob: probability that the colours change; then all four do, in one of four orders.
        brightness: at most so much is added to all values, of 1.
        saturation: bounds of its factor.
        contrast: bounds of the factor of the distance from the picture's mean colour.
        hue: at most so far it turns, of 1 for once around.
        zoom_prob: probability that the picture is laid on a larger ground first.
        zoom: bounds of the ground's sides over the picture's.
        fill: the ground's colour, 0 to 255; the map there is `outside`.
        outside: void (nobody knows) or background (class 0, as BlitzNet's).
        crop_prob: probability that a part is cut out.
        coverages: of which one is drawn: so much of at least one object must lie in the part.
        crop_area: bounds of the part's share of the area.
        crop_ratio: bounds of its width over its height.
        tries: parts drawn before the picture is left whole.
        flip: probability of a mirror image.
        least: pixels of the view that both sides of a box must have to be learned.
        difficult: objects that VOC calls difficult are learned too.
    """

    colour_prob: float = 1.0
    brightness: float = 0.125
    saturation: Range = (0.5, 1.5)
    contrast: Range = (0.5, 1.5)
    hue: float = 0.07
    zoom_prob: float = 0.5
    zoom: Range = (1.05, 4.0)
    fill: tuple[int, int, int] = (124, 116, 104)
    outside: Literal["void", "background"] = "void"
    crop_prob: float = 1.0
    coverages: tuple[float, ...] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
    crop_area: Range = (0.3, 1.0)
    crop_ratio: Range = (0.5, 2.0)
    tries: int = 50
    flip: float = 0.5
    least: float = 2.0
    difficult: bool = True
