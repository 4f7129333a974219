"""Pictures from files, bytes and packs to the tensors a model sees; broken ones told by path."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from einops import rearrange
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from pellucid.data import resize
from pellucid.data.decode import Source, header, look, max_pixels, opened, place_of, read_bytes
from pellucid.data.stored import Stored
from pellucid.data.views import TestView
from pellucid.errors import BadData, UnsafeInput
from pellucid.task import Example

__all__ = ["Source", "Stored", "check_images", "look", "max_pixels", "open_image", "read_bytes", "stacked", "test_image"]

# a JPEG is decoded smaller only where at least so many times the wanted short side is left: at 2, values are on average 0.005 off a
# full decoding (in units of the range -1 to 1; photographs of COCO at 96 pixels), at 1 three times that
DRAFT_MARGIN = 2.0
_SHOWN = 3

log = logging.getLogger("pellucid")


def open_image(source: Source, where: str = "", shortest: int | None = None) -> Image.Image:
    """The upright 8-bit RGB picture; of an animation the first frame; what is see-through lies on white.

    Args:
        where: what messages call it, beside its path.
        shortest: a JPEG may come out smaller (a half, a quarter, an eighth), its short side no shorter than this.
    Raises:
        BadData: missing, empty, truncated, damaged or no picture.
        UnsafeInput: its header claims more pixels than `max_pixels`; nothing was decoded.
    """
    return look(source, where).image(shortest)


def test_image(source: Source, view: TestView, where: str = "", fast: bool = True) -> UInt8[Tensor, "3 h w"]:  # noqa: PT028
    """What a model is shown of a picture when it is measured, 0 to 255, in memory as `h w 3`.

    Args:
        fast: large JPEGs are decoded smaller and resampling is torch's; without, every value equals timm's evaluation transform.
    Raises:
        BadData, UnsafeInput: as `open_image`.
    Differs: timm leaves pictures as stored where EXIF says they are turned.
    """
    picture = look(source, where)
    if not fast:
        return resize.exact_view(picture.image(), view)
    shortest = round(DRAFT_MARGIN * resize.short_side(view))
    return resize.fast_view(picture.array(shortest), view, picture.scale(shortest), picture.size)


def stacked(images: Sequence[UInt8[Tensor, "3 h w"]]) -> UInt8[Tensor, "b 3 h w"]:
    """A batch of pictures, in memory as `b h w 3` (channels_last), to which test views are only copied."""
    return rearrange(torch.stack([rearrange(image, "c h w -> h w c") for image in images]), "b h w c -> b c h w")


def check_images(
    examples: Sequence[Example], source: str, skip_broken: bool = False, workers: int = 0, full: bool = False
) -> list[Example]:
    """The examples whose `image` is sound; each broken one that no message names is logged by its path.

    Args:
        source: what the message calls the data.
        skip_broken: leave broken ones out; otherwise they are an error.
        workers: threads that look at once.
        full: decode every picture; by default only headers are read, which finds no truncated file.
    Raises:
        BadData: some are broken and not to be skipped, or all are.
        UnsafeInput: the same, where the header of one claims more pixels than `max_pixels`.
    """
    with ThreadPoolExecutor(max(1, workers)) as threads:
        faults = list(threads.map(_full_fault if full else _fault, examples))
    return sound(examples, faults, source, f"of {len(examples)} pictures", skip_broken)


def sound(
    examples: Sequence[Example], faults: Sequence[BadData | UnsafeInput | None], source: str, of: str, skip_broken: bool
) -> list[Example]:
    """The examples without a fault; each fault is logged that no message names.

    Args:
        faults: what is wrong with each example.
        of: how many of what were looked at, as `of 5 pictures`.
        source, skip_broken: as in `check_images`.
    Raises:
        BadData, UnsafeInput: as `check_images`.
    """
    broken = [fault for fault in faults if fault is not None]
    if not broken:
        return list(examples)
    count = f"{source}: {len(broken)} {of} cannot be used"
    left_out = skip_broken and len(broken) < len(examples)
    for fault in broken if left_out or len(broken) > _SHOWN else ():
        log.warning("%s", fault)
    if left_out:
        log.warning("%s; left out", count)
        return [example for example, fault in zip(examples, faults, strict=True) if fault is None]
    some = "; ".join(str(fault) for fault in broken[:_SHOWN]) + ("; ..." if len(broken) > _SHOWN else "")
    kind = UnsafeInput if any(isinstance(fault, UnsafeInput) for fault in broken) else BadData
    raise kind(f"{count}: {some}")


def _fault(example: Example) -> BadData | UnsafeInput | None:
    """What is wrong with a picture as far as its header tells."""
    image, where = example["image"], str(example.get("id", ""))
    try:
        if isinstance(image, bytes | Stored):
            look(image, where)
        else:
            with opened(image, where) as file:
                header(file, place_of(image, where))
    except (BadData, UnsafeInput) as fault:
        return fault
    return None


def _full_fault(example: Example) -> BadData | UnsafeInput | None:
    try:
        look(example["image"], str(example.get("id", ""))).array()
    except (BadData, UnsafeInput) as fault:
        return fault
    return None
