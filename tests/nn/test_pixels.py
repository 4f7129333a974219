import pytest
import torch

from pellucid.data.views import IMAGENET_MEAN, IMAGENET_STD
from pellucid.nn.pixels import factors, pixels


@pytest.mark.parametrize(("mean", "std"), [(IMAGENET_MEAN, IMAGENET_STD), ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), ((0, 0, 0), (1, 1, 1))])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (1, 3, 1, 1), (3, 3, 8, 2)])
def test_pixels_are_value_less_mean_over_deviation_per_channel(mean, std, shape):
    batch = torch.randint(0, 256, shape, dtype=torch.uint8)
    centre, spread = (torch.tensor(numbers, dtype=torch.float64)[None, :, None, None] for numbers in (mean, std))
    expected = (batch.double() / 255 - centre) / spread
    for laid in (batch, batch.contiguous(memory_format=torch.channels_last), batch.repeat(1, 1, 1, 2)[..., : shape[3]]):
        found = pixels(laid, *factors(mean, std))
        assert torch.allclose(found.double(), expected, rtol=0, atol=1e-6)
        assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)


def test_changing_a_batch_of_floats_leaves_the_bytes():
    batch = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    pixels(batch, *factors((0, 0, 0), (1, 1, 1))).zero_()
    assert (batch == 255).all()


def test_floats_and_bytes_become_the_same_numbers():
    batch = torch.randint(0, 256, (2, 3, 6, 5), dtype=torch.uint8)
    numbers = factors(IMAGENET_MEAN, IMAGENET_STD)
    assert torch.allclose(pixels(batch, *numbers), pixels(batch.float(), *numbers), rtol=0, atol=1e-6)
