"""What every test shares: no network, one seed, shapes enforced, the folder of reference data where it is present."""

import os
import pathlib

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("pellucid", "typecheck.check")  # shapes are checked in tests and cost nothing outside them

HERE = pathlib.Path(__file__).parent


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """Reference numbers and real data that users do not have."""
    place = pathlib.Path(os.environ.get("PELLUCID_SHARED", HERE.parent.parent / "shared"))
    if not place.is_dir():
        pytest.skip(f"no reference data at {place.name}/ beside the checkout")
    return place


@pytest.fixture(scope="session")
def references(request) -> pathlib.Path:
    """Inputs and outputs of the original programs: `$PELLUCID_REFERENCE`, else `reference` in the folder of `shared`."""
    given = os.environ.get("PELLUCID_REFERENCE")
    return pathlib.Path(given) if given else request.getfixturevalue("shared") / "reference"
