"""Places and patches against those of the published code, drawn from the same stream of numpy's old generator."""

import numpy as np
import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file

from pellucid.tasks.quality.data import Pair
from pellucid.tasks.quality.sampling import block_origins, grid_origins, sample
from pellucid.tasks.quality.settings import Sampling, VitShape

PATCH, PERTURB = 16, 0.2


@pytest.fixture(scope="module")
def published(references):
    return load_file(references / "vision" / "vtamiq" / "sampling.safetensors")


@pytest.mark.parametrize(("height", "width", "num"), [(96, 128, 32), (384, 512, 64)])
@pytest.mark.parametrize("mode", ["perturbed_simple", "perturbed", "halton"])
def test_places_are_those_of_the_published_code(published, mode, height, width, num):
    rng = np.random.RandomState(123)
    if mode == "perturbed_simple":
        found = grid_origins((height - PATCH, width - PATCH), height / width, num, PERTURB, rng)
    else:
        found = block_origins(np.ones((height, width)), PATCH, num, rng, PERTURB if mode == "perturbed" else None)
    expected = published[f"samples_{mode}_{height}x{width}_n{num}_seed123"].numpy()
    np.testing.assert_allclose(found.T, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scales", [1, 2])
def test_patches_and_positions_are_those_of_the_published_code(published, scales):
    pictures = (rearrange(published[f"img_{name}_u8"], "h w c -> c h w") for name in ("ref", "dist"))
    found = sample(Pair(*pictures), Sampling(scales=scales), VitShape(), 24, np.random.RandomState(77))
    for i, patches in enumerate((found.reference, found.image)):
        torch.testing.assert_close((patches / 255 - 0.5) / 0.5, published[f"patches_s{scales}_seed77"][i], rtol=0, atol=1e-6)
        torch.testing.assert_close(found.position, published[f"pos_s{scales}_seed77"][i], rtol=0, atol=1e-6)
    expected = published["scales_s2_seed77"][0].long() if scales > 1 else torch.zeros(24, dtype=torch.long)
    assert found.scale_index.equal(expected)
