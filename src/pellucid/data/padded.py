"""Batches of pictures of different sizes: padded below and to the right to one size, with a map of what is real."""

from collections.abc import Sequence

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, UInt8
from torch import Tensor

from pellucid.data.decode import look
from pellucid.data.pictures import where
from pellucid.task import Batch, Example


def padded(pictures: Sequence[UInt8[Tensor, "3 _ _"]], multiple: int = 32) -> tuple[UInt8[Tensor, "b 3 h w"], Bool[Tensor, "b h w"]]:
    """The pictures, black below and to the right up to the largest's size, in memory as `b h w 3`; and which pixels are a picture's.

    Args:
        multiple: height and width are rounded up to multiples of this.
    """
    height, width = (-(-max(picture.shape[axis] for picture in pictures) // multiple) * multiple for axis in (1, 2))
    batch = torch.zeros(len(pictures), height, width, 3, dtype=torch.uint8)
    present = torch.zeros(len(pictures), height, width, dtype=torch.bool)
    for i, picture in enumerate(pictures):
        _, down, across = picture.shape
        batch[i, :down, :across] = rearrange(picture, "c h w -> h w c")
        present[i, :down, :across] = True
    return rearrange(batch, "b h w c -> b c h w"), present


def patch_mask(pixel_present: Bool[Tensor, "b h w"], side: int) -> Bool[Tensor, "b n"]:
    """Which patches of `side` x `side` pixels hold any of their picture, row by row.

    Raises:
        ValueError: the batch's height or width is no multiple of the side.
    """
    height, width = pixel_present.shape[1:]
    if height % side or width % side:
        raise ValueError(f"patches of {side} pixels do not fit {height} x {width}; pad to a multiple of {side}")
    return reduce(pixel_present, "b (h p) (w q) -> b (h w)", "max", p=side, q=side)


def picture_batch(pictures: Sequence[UInt8[Tensor, "3 _ _"]], sizes_hw: Sequence[tuple[int, int]], patch: int, stride: int) -> Batch:
    """What a detector's batch has of its pictures: `picture`, `pixel_present`, `patch_present`, `cell_present`, and `size_hw` (b 2).

    Args:
        sizes_hw: of the stored pictures.
        patch: side of the patches by which a picture is explained.
        stride: pixels between the cells of the backbone's last map.
    """
    picture, present = padded(pictures)
    return {
        "picture": picture,
        "pixel_present": present,
        "patch_present": patch_mask(present, patch),
        "cell_present": patch_mask(present, stride),
        "size_hw": torch.tensor(sizes_hw),
    }


def bucket_length(example: Example) -> int:
    """A number by which pictures of one shape come to stand together: width over height, in thousandths.

    Their short sides being brought to one length, it is the proportions that decide how much of a batch is padding.

    Raises:
        BadData, UnsafeInput: the example does not say its size, and its picture cannot be read.
    """
    if "width" in example and "height" in example:
        width, height = example["width"], example["height"]
    else:
        width, height = look(example["image"], where(example)).size
    return max(1, round(1000 * width / height))
