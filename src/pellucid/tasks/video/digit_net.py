"""The network that makes local features of Flash-MNIST's frames, trained here on digits in noise when first needed.

Source: Long et al. 2018, Attention Clusters, and the authors' program.
"""

import hashlib
import json
import logging
import pathlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from pellucid import checkpoint
from pellucid.data import archive, flash, packages, read, sources
from pellucid.errors import BadData, BadUsage

log = logging.getLogger("pellucid")

WIDTH = 50  # numbers of a local feature
CLASSES = flash.NOISE + 1
_SEED = 1
_VERSION = 1  # of the network and its training


@dataclass(frozen=True)
class Size:
    """What belongs to pictures of one size.

    Args:
        mean: of the digits' pixels, from 0 to 1.
        std: their spread.
        epochs: over the digits in noise.
    """

    mean: float
    std: float
    epochs: int


SIZES = {28: Size(0.1307, 0.3081, 1), 8: Size(0.3064, 0.3753, 12)}


class DigitNet(nn.Module):
    """Log-probabilities over 50 units that have no names: the local feature; `head` tells digits and noise from it.

    With 28 pixels a side it is the authors' network. Differs: with 8 it has two wide convolutions and pools once.

    Args:
        side: of a picture, in pixels.
    Raises:
        BadUsage: a side that is neither MNIST's nor that of scikit-learn's digits.
    """

    def __init__(self, side: int = 28):
        super().__init__()
        if side not in SIZES:
            raise BadUsage(f"digit-net: pictures of {side} x {side}; expected {' or '.join(f'{s} x {s}' for s in SIZES)}: set view.size")
        self.side, self.width = side, WIDTH
        self.trunk = _trunk_28() if side == 28 else _trunk_8()
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, pictures: Shaped[Tensor, "n _ h w"]) -> Float[Tensor, "n 50"]:
        """Local features of pictures with values from 0 to 255; colours are averaged."""
        if tuple(pictures.shape[2:]) != (self.side, self.side):
            height, width = pictures.shape[2:]
            raise BadUsage(
                f"digit-net sees pictures of {self.side} x {self.side} pixels, not {height} x {width}: set view.size={self.side}"
            )
        size = SIZES[self.side]
        grey = reduce(pictures.to(self.head.weight.dtype), "n c h w -> n 1 h w", "mean")
        return F.log_softmax(self.trunk((grey / 255 - size.mean) / size.std), dim=-1)

    def log_probs(self, pictures: Shaped[Tensor, "n _ h w"]) -> Float[Tensor, "n eleven"]:
        """Of the digits and of noise."""
        return F.log_softmax(self.head(self(pictures)), dim=-1)


def _trunk_28() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU()),  # n 10 12 12
        *(nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU()),  # n 20 4 4
        *(nn.Flatten(), nn.Linear(320, WIDTH), nn.ReLU(), nn.Dropout()),
    )


def _trunk_8() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()),  # n 32 8 8
        *(nn.Conv2d(32, 64, 3, padding=1), nn.Dropout2d(0.3), nn.MaxPool2d(2), nn.ReLU()),  # n 64 4 4
        *(nn.Flatten(), nn.Linear(1024, WIDTH), nn.ReLU(), nn.Dropout()),
    )


# ---- weights ------------------------------------------------------------------------------------------------------


def digit_net(digits: str, epochs: int = 0) -> DigitNet:
    """The network for films of these digits, in eval mode and without gradients; trained when first needed, then kept in the user's cache.

    Args:
        digits: a folder of MNIST's files, or `digits`; `${NAME}` is read from the environment.
        epochs: 0 for the usual number.
    Raises:
        BadUsage: what `${NAME}` names is not set.
        BadData: the digits or the kept weights are not what was promised, or the cache cannot be written.
    """
    digits = read.expanded(digits)
    held = flash.load(digits)
    net = DigitNet(held.side)
    epochs = epochs or SIZES[net.side].epochs
    folder = _folder(held.digest, epochs)
    if not folder.is_dir():
        net = trained(digits, epochs)
        _keep(net, folder, {"digits": held.digest, "side": net.side, "epochs": epochs, "accuracy": accuracy(net, digits)})
    checkpoint.load_into(net, checkpoint.load(folder / "model.safetensors"), f"{folder}/model.safetensors")
    told = sources.read_json(folder / "about.json")
    log.info("digit-net of %s: right about %.1f%% of single noisy test pictures", digits, 100 * told["accuracy"])
    return net.eval().requires_grad_(False)


def _folder(digest: str, epochs: int) -> pathlib.Path:
    told = hashlib.sha256(f"{_VERSION} {digest} {epochs} {_SEED}".encode()).hexdigest()
    return packages.cache_folder() / "digit-net" / told[:16]


def _keep(net: DigitNet, folder: pathlib.Path, about: Mapping[str, Any]) -> None:
    try:
        with archive.whole_folder(folder) as fresh:
            checkpoint.save(net.state_dict(), fresh / "model.safetensors")
            (fresh / "about.json").write_text(json.dumps(about), encoding="utf-8")
    except OSError as error:
        raise BadData(f"cannot write {folder}: {error.strerror or error}; set PELLUCID_CACHE to a folder that can be written") from None


def trained(digits: str, epochs: int) -> DigitNet:
    """A network that has learned to tell the training digits and noise apart; the same every time on one machine."""
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(_SEED)
        net = DigitNet(flash.load(digits).side).train()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for epoch in range(epochs):
            began, loss = time.perf_counter(), _learn(net, optimizer, *flash.noisy(digits, "train", epoch))
            log.info("digit-net learns %s: epoch %d of %d, loss %.3f, %.0f s", digits, epoch + 1, epochs, loss, time.perf_counter() - began)
    return net.eval()


def _learn(net: DigitNet, optimizer: torch.optim.Optimizer, pictures: UInt8[np.ndarray, "n h w"], labels: Int64[np.ndarray, " n"]) -> float:
    """One epoch in batches of 64; gives the mean loss."""
    images, truth, total = torch.from_numpy(pictures), torch.from_numpy(labels), torch.zeros(())
    for chosen in torch.randperm(len(truth)).split(64):
        optimizer.zero_grad()
        loss = F.nll_loss(net.log_probs(rearrange(images[chosen], "n h w -> n 1 h w")), truth[chosen])
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(chosen)
    return float(total / len(truth))


@torch.no_grad()
def accuracy(net: DigitNet, digits: str) -> float:
    """Share of the single noisy test pictures, digits and noise, that the network is right about."""
    pictures, labels = flash.noisy(digits, "test")
    found = [net.log_probs(rearrange(some, "n h w -> n 1 h w")).argmax(-1) for some in torch.from_numpy(pictures).split(1000)]
    return float((torch.cat(found) == torch.from_numpy(labels)).float().mean())
