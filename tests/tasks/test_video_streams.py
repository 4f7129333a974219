"""What a network is shown of a clip, and the row of numbers it makes of it."""

import math
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from einops import rearrange
from safetensors.torch import save_file
from torch import nn

from pellucid.data.clips.clip import Shot
from pellucid.data.corrupt.pictures import corrupt_images
from pellucid.data.images import test_image as view_of
from pellucid.data.views import TestView
from pellucid.errors import BadUsage
from pellucid.nn.backbone import backbone
from pellucid.tasks.video import views
from pellucid.tasks.video.settings import Stream
from pellucid.tasks.video.streams import LocalFeatures, stream, weights_sha256
from standin import Drawn, noise, tone

SMALL = TestView(32, 1.0)
TINY = {"model": "resnet_tiny", "pretrained": "", "view": SMALL}


def ppm(frame):
    return b"P6\n%d %d\n255\n" % (frame.shape[1], frame.shape[0]) + frame.tobytes()


# ---- networks ---------------------------------------------------------------------------------------------------------


def test_a_row_is_what_the_head_of_the_same_network_would_have_seen(tmp_path):
    whole = backbone("resnet18", 5).eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    made = stream("rgb", Stream("resnet18", str(tmp_path / "w.safetensors"), TestView(64)))
    frames = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(whole.pretrained_cfg[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    rows = made(frames)
    assert rows.shape == (3, made.width) == (3, 512)
    torch.testing.assert_close(whole.fc(rows), whole((frames / 255 - mean) / std), atol=1e-4, rtol=1e-4)


def test_the_width_is_that_of_the_rows_whatever_the_network_says_of_itself():
    made = stream("rgb", Stream("mobilenetv3-small", "", TestView(32)))
    assert made.width == 1024 == made(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape[1]  # its num_features are 576


def test_weights_of_colour_see_flow_and_sound_as_timm_adapts_them(tmp_path):
    colour = backbone("resnet_tiny", 4)
    save_file(colour.state_dict(), tmp_path / "w.safetensors")
    told = {**TINY, "pretrained": str(tmp_path / "w.safetensors")}
    first = colour.conv1.weight
    flow, audio = stream("flow", Stream(stack=2, **told)), stream("audio", Stream(**told))
    torch.testing.assert_close(flow.net.conv1.weight, torch.cat([first, first[:, :1]], 1) * 3 / 4)
    torch.testing.assert_close(audio.net.conv1.weight, first.sum(1, keepdim=True))
    assert flow.net.left_fresh == audio.net.left_fresh == ()


def test_flow_that_is_still_is_the_zero_of_its_network():
    seen = []
    made = stream("flow", Stream(stack=1, **TINY))
    made.net = Kept(seen)
    made(torch.tensor([views.STILL, 255], dtype=torch.uint8).reshape(1, 2, 1, 1))
    spread = sum((0.229, 0.224, 0.225)) / 3
    torch.testing.assert_close(seen[0].flatten(), torch.tensor([0.0, 127 / 255 / spread]), atol=1e-6, rtol=1e-6)


class Kept(nn.Module):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, pictures):
        self.seen.append(pictures)
        return pictures.mean((2, 3))


def test_frozen_weights_keep_their_statistics_and_learning_ones_do_not():
    made = stream("rgb", Stream(**TINY))
    frames = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    before = made.net.bn1.running_mean.clone()
    made.train()
    made(frames)
    assert not made.training and torch.equal(before, made.net.bn1.running_mean)
    made.requires_grad_(True).train()
    made(frames).sum().backward()
    assert made.training and not torch.equal(before, made.net.bn1.running_mean) and made.net.conv1.weight.grad.abs().sum() > 0


def test_no_pictures_give_no_rows():
    assert stream("rgb", Stream(**TINY))(torch.zeros(0, 3, 32, 32, dtype=torch.uint8)).shape == (0, 64)


def test_other_weights_or_pixels_have_another_sum_and_the_same_ones_the_same():
    torch.manual_seed(1)
    one, other = stream("rgb", Stream(**TINY)), stream("rgb", Stream(**TINY))
    same = LocalFeatures(one.net, 64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    darker = LocalFeatures(one.net, 64, (0.5, 0.5, 0.5), (0.229, 0.224, 0.225))
    assert weights_sha256(one) == weights_sha256(same)
    assert len({weights_sha256(m) for m in (one, other, darker)}) == 3


def test_the_network_of_digits_is_of_the_size_of_its_view_and_normalises_by_itself():
    made, frames = stream("rgb", Stream("digit-net", "", TestView(8, 1.0))), torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert made.width == 50 and torch.equal(made(frames), made.net(frames))
    torch.testing.assert_close(made(frames).exp().sum(1), torch.ones(2))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("smell", Stream(), "no such modality of a clip; there are rgb, flow, audio"),
        ("flow", Stream("resnet_tiny", "", TestView(32, mean=(0.5, 0.5, 0.5))), "view.mean: 3 numbers for 10 channels; give 1 or 10"),
        ("audio", Stream("digit-net", ""), "only rgb can have it"),
        ("audio", Stream("vit_tiny_patch16_224", ""), "cannot see pictures of 1 x 64 x 96"),
    ],
)
def test_a_stream_that_cannot_be_is_told_in_one_line(name, settings, message):
    with pytest.raises(BadUsage, match=message) as caught:
        stream(name, settings)
    assert "\n" not in str(caught.value)


# ---- frames -----------------------------------------------------------------------------------------------------------


def test_a_frame_is_seen_as_a_picture_of_a_file_is():
    frame = noise(1, 90)[0][:70]
    assert (views.frame(frame, TestView(40)).int() - view_of(ppm(frame), TestView(40), "").int()).abs().max() == 0


def test_frames_come_at_their_times_and_hold_their_pixels():
    clip = Drawn("a", noise(50, 32))
    found = list(views.pieces("rgb", clip, Stream(rate=5, most=4, **{"view": SMALL})))
    assert [p.time_s for p in found] == [0.2, 0.6, 1.2, 1.6]
    assert np.array_equal(found[1].picture(), rearrange(clip.frames[15], "h w c -> c h w"))


def test_a_frame_is_spoiled_as_a_picture_is_by_a_seed_of_its_own_frame():
    clip, how = Drawn("a", noise(1, 32).repeat(2, 0)), {"kind": "gaussian_noise", "severity": 3, "seed": 7}
    plain, spoiled = (list(views.pieces("rgb", clip, Stream(rate=0, view=SMALL), c)) for c in (None, how))
    first, second = (p.picture() for p in spoiled)
    assert torch.equal(spoiled[0].picture(), first) and not torch.equal(first, second)
    level = (first.float() - plain[0].picture().float()).abs().mean()
    expected = (corrupt_images(plain[0].picture()[None], "gaussian_noise", 3, [1])[0].float() - plain[0].picture().float()).abs().mean()
    assert abs(level - expected) < 1
    moving = [p.picture() for p in views.pieces("rgb", clip, Stream(rate=0, view=SMALL), {**how, "kind": "frame_drop"})]
    assert torch.equal(moving[0], plain[0].picture())


def test_a_small_picture_is_spoiled_at_a_whole_multiple_of_its_size_and_averaged_back():
    grey = torch.full((3, 16, 16), 100, dtype=torch.uint8)
    brighter = views.spoil(grey, {"kind": "brightness", "severity": 1, "seed": 0}, 0)
    large = corrupt_images(torch.full((1, 3, 32, 32), 100, dtype=torch.uint8), "brightness", 1, [0])[0]
    assert brighter.shape == grey.shape and torch.equal(brighter, large[:, :16, :16]) and brighter.float().mean() > 100


# ---- optical flow -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def texture():
    pytest.importorskip("cv2")
    smooth = torch.nn.functional.avg_pool2d(torch.from_numpy(noise(1, 80)[0]).float().permute(2, 0, 1)[None], 5, 1)[0]
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255
    return smooth.byte().permute(1, 2, 0).numpy()


def test_motion_is_found_along_its_axis_with_its_sign_and_size(texture):
    # the content moves 2 pixels right and 1 up, then 3 pixels up
    frames = np.stack([texture[5:69, 5:69], texture[6:70, 3:67], texture[9:73, 3:67]])
    seen = views.flow(Shot(0, 0.0, frames), Stream(stack=2, bound=10, view=TestView(64, 1.0))).float()
    assert seen.shape == (4, 64, 64)
    # 127.5 + 127.5 * motion / bound
    middle = seen[:, 8:-8, 8:-8].flatten(1).median(1).values
    assert (middle - torch.tensor([153.0, 114.75, 128.0, 89.25])).abs().max() <= 1


def test_motion_is_of_the_same_part_of_the_picture_that_frames_show(texture):
    frames = np.stack([texture[6:70, 6:70], texture[6:70, 6:70]]).copy()
    frames[1, :32] = texture[6:38, 3:67]  # the upper half alone moves, by 3 pixels, and the view cuts 8 rows off
    seen = views.flow(Shot(0, 0.0, frames), Stream(stack=1, bound=10, view=TestView(48, 0.75))).float()
    rows = seen[0].median(1).values
    assert seen.shape == (2, 48, 48) and abs(rows[:16].median() - (127.5 + 127.5 * 3 / 10)) <= 1
    assert 22 <= int((rows > 146).sum()) <= 26 and (seen[:, 32:] - 128).abs().mean() < 1


def test_still_is_128_and_motion_beyond_the_bound_is_its_end():
    motion = torch.tensor([0.0, 20, -20, 35, -1e9, 10])
    assert views.quantised(motion, 20.0).tolist() == [128, 255, 0, 255, 0, 191]
    assert views.quantised(torch.zeros(1), 7.3).item() == 128


@dataclass(frozen=True)
class Stored(Drawn):
    def flow(self, rate=0, most=0, run=1):
        return (Shot(s.index, s.time_s, s.pictures[..., :2]) for s in self.shots(rate, most, run))


def test_stored_flow_is_taken_as_it_is_and_computed_anew_of_spoiled_frames(monkeypatch):
    clip, told, how = Stored("a", noise(3, 32)), Stream(rate=0, stack=2, view=SMALL), {"kind": "fog", "severity": 1, "seed": 0}
    x, y = (clip.frames[[1, 2], ..., axis] for axis in (0, 1))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "cv2", None)
        seen = [p.picture() for p in views.pieces("flow", clip, told)][1]
    assert np.array_equal(seen, np.stack([x[0], y[0], x[1], y[1]]))
    anew = next(views.pieces("flow", clip, told, how)).picture()
    assert torch.equal(anew, views.flow(Shot(0, 0.0, clip.frames), told, how))


def test_flow_without_opencv_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(BadUsage, match=r"pip install 'pellucid\[video\]'"):
        views.flow(Shot(0, 0.0, noise(2)), Stream(stack=1, view=SMALL))


def test_pictures_too_small_for_motion_are_told():
    with pytest.raises(BadUsage, match="motion needs pictures of at least 16 pixels"):
        views.flow(Shot(0, 0.0, noise(2)), Stream(stack=1, view=TestView(12, 1.0)))


# ---- sound ------------------------------------------------------------------------------------------------------------


def log_mel(wave, mels):
    """As VGGish's paper says, from the definitions: magnitudes of a Hann window by a plain DFT, triangles in HTK mels."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    starts = range(0, len(wave) - 399, 160)
    spectrum = np.abs(np.stack([np.fft.rfft(wave[s : s + 400] * window, 512) for s in starts]))

    def mel(hertz):
        return 1127 * np.log(1 + np.asarray(hertz) / 700)

    edges, bins = np.linspace(mel(125), mel(7500), mels + 2), mel(np.arange(257) * 16_000 / 512)
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.log(spectrum @ np.maximum(0, np.minimum(rise, fall)) + 0.01).T


def test_a_spectrogram_is_the_log_mel_of_its_definition():
    wave = np.random.default_rng(0).normal(0, 0.1, 95 * 160 + 400).astype(np.float32)
    seen = views.spectrogram(wave, 64, 96)
    nats = seen[0].numpy() / 25.5 + math.log(0.01)
    assert seen.shape == (1, 64, 96) and np.abs(nats - log_mel(wave.astype(np.float64), 64)).max() < 1e-4


def test_silence_is_black_and_a_higher_tone_is_brightest_in_a_higher_row():
    assert views.spectrogram(np.zeros(16_000, np.float32), 64, 96).abs().max() == 0
    rows = [int(views.spectrogram(tone(f, 1.0), 64, 96)[0].mean(1).argmax()) for f in (300, 1000, 4000)]
    assert rows == sorted(set(rows))


@pytest.mark.parametrize(
    ("seconds", "settings", "times"),
    [
        (3.0, Stream(rate=1), [0.0, 1.0, 2.0]),
        (3.0, Stream(rate=2, window_s=1.0), [0.0, 0.5, 1.0, 1.5, 2.0]),
        (3.0, Stream(rate=0, window_s=0.96), [0.0, 0.96, 1.92]),
        (3.0, Stream(rate=2, window_s=1.0, most=2), [0.5, 1.5]),
        (0.3, Stream(rate=5), [0.0]),
    ],
)
def test_pieces_of_sound_lie_whole_within_it_and_a_short_sound_is_one(seconds, settings, times):
    clip = Drawn("a", noise(1), tone(440, seconds))
    assert [p.time_s for p in views.pieces("audio", clip, settings)] == pytest.approx(times)


def test_a_piece_of_sound_is_that_of_its_time():
    wave = np.concatenate([tone(300, 1.0), tone(4000, 1.0)])
    first, second = (p.picture() for p in views.pieces("audio", Drawn("a", noise(1), wave), Stream(rate=1)))
    assert torch.equal(second, views.spectrogram(tone(4000, 1.0), 64, 96)) and first[0].mean(1).argmax() < 20


@pytest.mark.parametrize("wave", [None, np.zeros(0, np.float32)])
def test_a_clip_without_sound_has_no_pieces_of_it(wave):
    assert list(views.pieces("audio", Drawn("a", noise(1), wave), Stream())) == []
