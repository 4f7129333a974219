"""Batches of pictures of different sizes: what is real is told, and alike shapes come together."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.data.loader import epoch_batches
from pellucid.data.padded import bucket_length, padded, patch_mask
from pellucid.recipe import Loop


def picture(height, width):
    return torch.randint(1, 256, (3, height, width), dtype=torch.uint8)


def test_pictures_lie_in_the_upper_left_and_all_else_is_black():
    pictures = [picture(40, 50), picture(33, 70), picture(1, 1)]
    batch, present = padded(pictures)
    assert (batch.shape, present.shape) == ((3, 3, 64, 96), (3, 64, 96))
    for one, row, real in zip(pictures, batch, present, strict=True):
        assert row[:, : one.shape[1], : one.shape[2]].equal(one)
        assert real.sum() == one.shape[1] * one.shape[2] and real[: one.shape[1], : one.shape[2]].all()
        assert not row[:, ~real].any()
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_that_fits_is_not_padded_and_the_multiple_is_a_choice():
    assert padded([picture(64, 32)])[0].shape == (1, 3, 64, 32)
    assert padded([picture(65, 32)], multiple=1)[0].shape == (1, 3, 65, 32)
    assert padded([picture(65, 32)], multiple=16)[0].shape == (1, 3, 80, 32)


def test_a_patch_is_present_if_a_single_pixel_of_it_is():
    _, present = padded([picture(33, 64), picture(64, 65)])
    found = patch_mask(present, 32)
    assert found.int().tolist() == [[1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1]]


def test_patches_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="patches of 32 pixels do not fit 40 x 64; pad to a multiple of 32"):
        patch_mask(torch.ones(1, 40, 64, dtype=torch.bool), 32)


def test_batches_of_alike_shapes_hold_less_padding():
    rng = np.random.default_rng(0)
    examples = [{"width": w, "height": h} for w, h in rng.integers(200, 800, (256, 2)).tolist()]

    def padding(lengths):
        batches = epoch_batches(lengths, Loop(epochs=1, batch_size=8, bucket=16), 0)
        resized = [
            [(800 * e["width"] / min(e.values()), 800 * e["height"] / min(e.values())) for e in map(examples.__getitem__, b)]
            for b in batches
        ]
        whole = sum(len(b) * max(w for w, _ in b) * max(h for _, h in b) for b in resized)
        return 1 - sum(w * h for b in resized for w, h in b) / whole

    assert padding([bucket_length(e) for e in examples]) < padding(len(examples)) / 3


def test_a_picture_that_does_not_tell_its_size_is_looked_at():
    held = io.BytesIO()
    Image.new("RGB", (30, 20)).save(held, "PNG")
    assert bucket_length({"image": held.getvalue()}) == bucket_length({"width": 60, "height": 40}) == 1500
    assert bucket_length({"width": 1, "height": 5000}) == 1
