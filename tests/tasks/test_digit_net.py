"""The network of single frames: the authors' layers, what it sees, and that it learns, is kept and comes back."""

import json
import logging

import numpy as np
import pytest
import torch

from pellucid.data import flash
from pellucid.errors import BadData, BadUsage
from pellucid.tasks.video import digit_net as room
from pellucid.tasks.video.digit_net import DigitNet, accuracy, digit_net


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def learned():
    return room.trained("digits", 1)


def test_the_network_of_mnist_is_the_authors():
    counts = {name: parameter.numel() for name, parameter in DigitNet().named_parameters()}
    # conv 1 -> 10 and 10 -> 20 of 5 x 5, fc 320 -> 50, head 50 -> 11
    assert list(counts.values()) == [250, 10, 5000, 20, 16000, 50, 550, 11]


@pytest.mark.parametrize("side", [8, 28])
def test_a_local_feature_is_50_log_probabilities_and_grey_in_three_channels_is_grey(side):
    net = DigitNet(side).eval()
    grey = torch.randint(0, 256, (3, 1, side, side), dtype=torch.uint8)
    features = net(grey)
    torch.testing.assert_close(features.exp().sum(1), torch.ones(3))
    assert features.shape == (3, 50)
    torch.testing.assert_close(net(grey.float().expand(-1, 3, -1, -1)), features)
    torch.testing.assert_close(net.log_probs(grey), torch.log_softmax(features @ net.head.weight.T + net.head.bias, 1))


def test_pixels_are_normalised_by_the_digits_own_mean_and_spread():
    pictures = flash.load("digits").parts["train"].pictures / 255
    assert (room.SIZES[8].mean, room.SIZES[8].std) == pytest.approx((pictures.mean(), pictures.std()), abs=1e-4)
    seen = []
    net = DigitNet(8).eval()
    net.trunk[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    net(torch.full((1, 3, 8, 8), 255, dtype=torch.uint8))
    assert seen[0].unique().item() == pytest.approx((1 - 0.3064) / 0.3753, abs=1e-4)


def test_pictures_of_another_size_are_refused_with_the_remedy():
    with pytest.raises(BadUsage, match=r"digit-net sees pictures of 8 x 8 pixels, not 28 x 28: set view.size=8"):
        DigitNet(8)(torch.zeros(1, 3, 28, 28))
    with pytest.raises(BadUsage, match="pictures of 32 x 32; expected 28 x 28 or 8 x 8"):
        DigitNet(32)


def test_one_epoch_beats_chance_widely(learned):
    assert accuracy(learned, "digits") > 0.3  # chance: a tenth
    pictures, labels = flash.noisy("digits", "test")
    found = learned.log_probs(torch.from_numpy(pictures[:, None])).argmax(1).numpy()
    assert accuracy(learned, "digits") == pytest.approx(np.mean(found == labels))


def test_it_is_trained_once_and_comes_back_from_the_cache(learned, monkeypatch, caplog, tmp_path):
    monkeypatch.setattr(room, "trained", lambda digits, epochs: learned)
    caplog.set_level(logging.INFO, "pellucid")
    first = digit_net("digits", 1)
    monkeypatch.setattr(room, "trained", lambda digits, epochs: pytest.fail("trained again"))
    second = digit_net("digits", 1)
    pictures = torch.from_numpy(flash.noisy("digits", "test")[0][:50, None])
    assert (first(pictures) == second(pictures)).all() and (first(pictures) == learned(pictures)).all()
    assert not second.training and not any(p.requires_grad for p in second.parameters())
    (about,) = tmp_path.glob("cache/digit-net/*/about.json")
    told = json.loads(about.read_text())
    assert (told["side"], told["epochs"], told["accuracy"]) == (8, 1, accuracy(learned, "digits"))
    assert f"right about {100 * told['accuracy']:.1f}%" in caplog.messages[-1]


def test_training_leaves_the_callers_randomness_alone_and_is_the_same_under_no_grad(learned, monkeypatch):
    pictures, labels = flash.noisy("digits", "train")
    monkeypatch.setattr(flash, "noisy", lambda digits, part, epoch=0: (pictures[::40], labels[::40]))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = room.trained("digits", 1)
    assert (torch.rand(3) == expected).all()
    with torch.inference_mode():
        other = room.trained("digits", 1)
    assert all((a == b).all() for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert any((a != b).any() for a, b in zip(one.parameters(), learned.parameters(), strict=True))


def test_digits_named_by_the_environment_are_found_or_asked_for(learned, monkeypatch):
    monkeypatch.setattr(room, "trained", lambda digits, epochs: learned)
    with pytest.raises(BadUsage, match="set FLASHED to the folder"):
        digit_net("${FLASHED}")
    monkeypatch.setenv("FLASHED", "digits")
    assert digit_net("${FLASHED}").side == 8
    with pytest.raises(BadData, match="no folder"):
        digit_net("nowhere/at/all")
