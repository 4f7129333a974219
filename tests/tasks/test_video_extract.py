"""Local features of clips: made in batches across clips, once, and kept; the same whatever happens beside them."""

import logging
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

import films
from pellucid.data.clips.clip import VideoFile
from pellucid.data.clips.held import load, shape
from pellucid.data.views import TestView
from pellucid.errors import BadData, BadUsage
from pellucid.tasks.video import extract as room
from pellucid.tasks.video.ahead import Ahead, Done
from pellucid.tasks.video.extract import checked, extract, extracted, film_of, frames_batch
from pellucid.tasks.video.settings import Stream, VideoSettings
from pellucid.tasks.video.streams import stream
from pellucid.tasks.video.views import pieces
from standin import Drawn, noise, tone

TINY = {"model": "resnet_tiny", "pretrained": "", "view": TestView(32, 1.0)}
SEEN = {"rgb": Stream(rate=25, most=0, **TINY)}
HEARD = {**SEEN, "audio": Stream(rate=1, **TINY)}


def rows(*clips):
    return [{"id": f"train.csv:{i + 1}", "video": clip, "label": "a"} for i, clip in enumerate(clips)]


def settings(folder, streams=SEEN, **told):
    return VideoSettings(streams, cache=str(folder), **told)


def networks(streams=SEEN, seed=0):
    torch.manual_seed(seed)
    return {name: stream(name, told) for name, told in streams.items()}


def one_by_one(network, clip, told, name="rgb", corruption=None):
    return torch.cat([network(piece.picture()[None]) for piece in pieces(name, clip, told, corruption)]).numpy()


# ---- features -----------------------------------------------------------------------------------------------------------


def test_features_are_those_of_each_picture_alone_however_clips_share_batches(tmp_path):
    clips, nets = [Drawn(f"c{n}", noise(n, seed=n)) for n in (1, 3, 70, 2, 41)], networks()
    for threads in (1, 3):
        found, used = extract(rows(*clips), "train.csv", nets, settings(tmp_path / str(threads)), "cpu", threads)
        for example, clip in zip(found, clips, strict=True):
            np.testing.assert_allclose(load(example["local"]["rgb"]), one_by_one(nets["rgb"], clip, SEEN["rgb"]), atol=1e-6, rtol=1e-5)
            assert example["times_s"]["rgb"] == pytest.approx([i / 25 for i in range(len(clip.frames))])
        assert (used.clips, used.features, used.threads) == (5, 117, threads)


def test_a_forward_pass_sees_no_more_pictures_than_fit_and_not_one_clip_at_a_time(tmp_path):
    nets, sizes = networks(), []
    inner = nets["rgb"].net
    nets["rgb"].net = Sized(inner, sizes)
    extracted(rows(*[Drawn(f"c{n}", noise(n)) for n in (4, 98, 3, 1, 2)]), "t", nets, settings(tmp_path), "cpu")
    assert sum(sizes) == 108 and max(sizes) <= room._BATCH + room._CHUNK and len(sizes) <= 4


class Sized(torch.nn.Module):
    def __init__(self, inner, sizes):
        super().__init__()
        self.inner, self.sizes = inner, sizes

    def forward(self, pictures):
        self.sizes.append(len(pictures))
        return self.inner(pictures)


def test_what_is_kept_is_not_decoded_again_and_a_new_modality_is_made_alone(tmp_path):
    clip, nets = Drawn("a", noise(4), tone(440, 2.0)), networks(HEARD)
    once = extracted(rows(clip, clip), "t", {"rgb": nets["rgb"]}, settings(tmp_path), "cpu")
    assert clip.looked == ["frames"] and once[0]["local"] == once[1]["local"]
    both = extracted(rows(clip), "t", nets, settings(tmp_path, HEARD), "cpu")
    assert clip.looked == ["frames", "sound"]
    assert both[0]["local"]["rgb"] == once[0]["local"]["rgb"] and shape(both[0]["local"]["audio"]) == (2, 64)


@pytest.mark.parametrize("change", ["weights", "rate", "view", "bytes", "pixels"])
def test_features_made_otherwise_are_made_anew(tmp_path, change):
    clip, nets, told = Drawn("a", noise(4)), networks(), SEEN["rgb"]
    before = extracted(rows(clip), "t", nets, settings(tmp_path), "cpu")[0]
    again = [{**rows(clip)[0]}]
    if change == "weights":
        nets = networks(seed=1)
    elif change == "rate":
        told = Stream(rate=5, most=0, **TINY)
    elif change == "view":
        told = Stream(rate=25, most=0, **{**TINY, "view": TestView(32, 0.8)})
    elif change == "bytes":
        again = rows(Drawn("a, and later", noise(4)))
    else:
        again[0]["corruption"] = {"kind": "fog", "severity": 3, "seed": 0}
    after = extracted(again, "t", nets, settings(tmp_path, {"rgb": told}), "cpu")[0]
    assert clip.looked == ["frames"] * (1 if change == "bytes" else 2) and before["local"] != after["local"]


def test_frames_of_a_spoiled_clip_are_spoiled_and_its_sound_is_not(tmp_path):
    clip, nets, how = Drawn("a", noise(3), tone(440, 1.0)), networks(HEARD), {"kind": "gaussian_blur", "severity": 3, "seed": 5}
    plain, spoiled = extracted([*rows(clip), {**rows(clip)[0], "corruption": how}], "t", nets, settings(tmp_path, HEARD), "cpu")
    expected = one_by_one(nets["rgb"], clip, SEEN["rgb"], corruption=how)
    np.testing.assert_allclose(load(spoiled["local"]["rgb"]), expected, atol=1e-6, rtol=1e-5)
    assert np.abs(load(plain["local"]["rgb"]) - expected).max() > 1e-3
    assert plain["local"]["audio"] == spoiled["local"]["audio"]


def test_a_moving_corruption_is_not_one_of_pixels(tmp_path):
    clip, nets = Drawn("a", noise(3)), networks()
    plain, dropped = extracted(
        [*rows(clip), {**rows(clip)[0], "corruption": {"kind": "frame_drop", "severity": 3, "seed": 5}}],
        "t",
        nets,
        settings(tmp_path),
        "cpu",
    )
    assert plain["local"] == dropped["local"] and clip.looked == ["frames"]


def test_of_a_clip_without_sound_that_modality_has_no_rows(tmp_path):
    found = extracted(rows(Drawn("a", noise(3))), "t", networks(HEARD), settings(tmp_path, HEARD), "cpu")[0]
    assert shape(found["local"]["audio"]) == (0, 64) and load(found["local"]["audio"]).shape == (0, 64) and found["times_s"]["audio"] == ()


def test_files_of_video_and_folders_of_frames_are_read_alike_and_a_truncated_file_is_told(tmp_path):
    pytest.importorskip("av")
    whole, folder, nets = films.noise(tmp_path / "whole.mp4", 10), tmp_path / "frames", networks()
    folder.mkdir()
    for shot in VideoFile(str(whole)).shots():
        Image.fromarray(shot.pictures[0]).save(folder / f"img_{shot.index + 1:05d}.png")
    examples = [{"id": f"train.csv:{i + 1}", "video": str(path)} for i, path in enumerate((whole, folder))]
    file, pictures = (load(e["local"]["rgb"]) for e in extracted(examples, "train.csv", nets, settings(tmp_path), "cpu"))
    np.testing.assert_allclose(file, one_by_one(nets["rgb"], VideoFile(str(whole)), SEEN["rgb"]), atol=1e-6, rtol=1e-5)
    np.testing.assert_allclose(file, pictures, atol=1e-6, rtol=1e-5)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(BadData, match=r"^train.csv:7: .*cut.mp4"):
        extracted([{"id": "train.csv:7", "video": str(cut)}], "train.csv", nets, settings(tmp_path), "cpu")


# ---- what goes wrong ------------------------------------------------------------------------------------------------------


def test_a_broken_clip_is_refused_with_its_row_and_file_or_left_out_and_counted_once(tmp_path, caplog):
    clips = [Drawn("good", noise(20)), Drawn("bad.mp4", noise(20), broken_at=12), Drawn("fine", noise(2))]
    with pytest.raises(BadData, match=r"train.csv:2: bad.mp4: damaged after 12 frames"):
        extracted(rows(*clips), "train.csv", networks(), settings(tmp_path), "cpu")
    with caplog.at_level(logging.WARNING, "pellucid"):
        found = extracted(rows(*clips), "train.csv", networks(), settings(tmp_path, broken="skip"), "cpu")
    assert [e["id"] for e in found] == ["train.csv:1", "train.csv:3"] and shape(found[0]["local"]["rgb"]) == (20, 64)
    assert [r.message for r in caplog.records if "left out" in r.message] == [
        "train.csv: 1 of 3 clips cannot be used; left out: train.csv:2: bad.mp4: damaged after 12 frames"
    ]


def test_where_every_clip_is_broken_there_is_nothing_to_go_on_with(tmp_path):
    with pytest.raises(BadData, match="none of 1 clips can be used"):
        extracted(rows(Drawn("bad", noise(2), broken_at=0)), "t", networks(), settings(tmp_path, broken="skip"), "cpu")


def test_a_missing_program_is_no_fault_of_a_clip(tmp_path, monkeypatch):
    def missing(*_):
        raise BadUsage("install it")

    monkeypatch.setattr(room, "pieces", missing)
    with pytest.raises(BadUsage, match="install it"):
        extracted(rows(Drawn("a", noise(2))), "t", networks(), settings(tmp_path, broken="skip"), "cpu")
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]


def test_an_interrupted_extraction_goes_on_where_it_was(tmp_path):
    clips, nets = [Drawn(f"c{i}", noise(8, seed=i)) for i in range(12)], networks()
    inner, batches = nets["rgb"].net.forward, iter(range(9))

    def interrupted(pictures):
        if next(batches) == 1:
            raise KeyboardInterrupt
        return inner(pictures)

    nets["rgb"].net.forward = interrupted
    with pytest.raises(KeyboardInterrupt):
        extract(rows(*clips), "t", nets, settings(tmp_path), "cpu", 1)
    assert not [t for t in threading.enumerate() if t.name.startswith("ahead")]
    del nets["rgb"].net.forward
    for clip in clips:
        clip.looked.clear()
    found, used = extract(rows(*clips), "t", nets, settings(tmp_path), "cpu", 1)
    assert used.clips == 12 - 4 and [c.looked for c in clips[:4]] == [[]] * 4
    for example, clip in zip(found, clips, strict=True):
        np.testing.assert_allclose(load(example["local"]["rgb"]), one_by_one(nets["rgb"], clip, SEEN["rgb"]), atol=1e-6, rtol=1e-5)


def test_a_long_extraction_says_how_far_it_is(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(room, "_TELL_S", 0.0)
    with caplog.at_level(logging.INFO, "pellucid"):
        extracted(rows(*[Drawn(f"c{i}", noise(32, seed=i)) for i in range(3)]), "t", networks(), settings(tmp_path), "cpu")
    told = [r.getMessage() for r in caplog.records if r.getMessage().startswith("features: ")]
    assert told[-1].startswith("features: 3 of 3 clips") and "about 0 minutes to go" in told[-1]


# ---- reading ahead ----------------------------------------------------------------------------------------------------------


def test_results_come_in_order_within_a_job_and_each_job_ends_once():
    with Ahead([3, 0, 5, 2], lambda n: (i for i in range(n)), threads=3, depth=2) as ahead:
        found: dict[int, list] = {i: [] for i in range(4)}
        for at, item in ahead:
            found[at].append(item)
    assert found == {0: [0, 1, 2, Done()], 1: [Done()], 2: [0, 1, 2, 3, 4, Done()], 3: [0, 1, Done()]}


def test_no_more_is_done_ahead_than_may_wait():
    made = []

    def work(job):
        for i in range(100):
            made.append(i)
            yield i

    with Ahead([0], work, threads=1, depth=3) as ahead:
        next(iter(ahead))
        time.sleep(0.1)
        assert len(made) <= 5  # one taken, three waiting, one in hand


def test_time_is_counted_where_it_was_spent(tmp_path):
    class Slow(torch.nn.Module):
        def forward(self, pictures):
            time.sleep(0.02)
            return pictures.float().mean((2, 3))

    nets = networks()
    nets["rgb"].net = Slow()
    nets["rgb"].width = 3
    _, used = extract(rows(*[Drawn(f"c{i}", noise(32, 4)) for i in range(6)]), "t", nets, settings(tmp_path), "cpu", 1)
    assert used.network_s >= 0.12 and 0 < used.decode_s < used.wall_s
    assert used.network_s + used.starved_s <= used.wall_s
    assert used.wall_s < used.network_s + used.decode_s or used.blocked_s > 0 or used.decode_s < 0.05  # they ran side by side


# ---- end to end -----------------------------------------------------------------------------------------------------------


def test_frames_of_a_batch_are_those_that_features_are_made_of(tmp_path):
    clips, nets = [Drawn("a", noise(9)), Drawn("b", noise(2, seed=1))], networks()
    found = extracted(rows(*clips), "t", nets, settings(tmp_path), "cpu")
    batch = frames_batch(rows(*clips), "rgb", [[8, 0, 0, 4], [1]], settings(tmp_path))
    assert batch["rgb_frames"].dtype == torch.uint8 and batch["rgb_frames"].shape == (2, 4, 3, 32, 32)
    assert batch["rgb_present"].tolist() == [[True] * 4, [True, False, False, False]]
    made = nets["rgb"](batch["rgb_frames"][0]).numpy()
    np.testing.assert_allclose(made, load(found[0]["local"]["rgb"])[[8, 0, 0, 4]], atol=1e-6, rtol=1e-5)


def test_a_batch_of_clips_without_sound_is_one_wide_and_absent(tmp_path):
    batch = frames_batch(rows(Drawn("a", noise(1))), "audio", [[]], settings(tmp_path, HEARD))
    assert batch["audio_frames"].shape == (1, 1, 1, 64, 96) and batch["audio_present"].tolist() == [[False]]


def test_pieces_are_counted_without_a_network_and_once(tmp_path):
    clip, how = Drawn("a", noise(5), tone(440, 3.0)), {"kind": "fog", "severity": 1, "seed": 0}
    told = settings(tmp_path, HEARD)
    found = checked([{**rows(clip)[0], "corruption": how}], "t", told)[0]
    assert {name: shape(held)[0] for name, held in found["local"].items()} == {"rgb": 5, "audio": 3}
    assert found["times_s"]["audio"] == (0.0, 1.0, 2.0) and found["corruption"] == how
    checked(rows(clip), "t", told)
    assert clip.looked == ["frames", "sound"]


def test_a_clip_that_has_become_shorter_is_told(tmp_path):
    with pytest.raises(BadData, match=r"train.csv:1: piece 8 is not there any more; has a changed"):
        frames_batch(rows(Drawn("a", noise(3))), "rgb", [[2, 7]], settings(tmp_path))


def test_a_film_is_of_the_times_that_are_asked_for():
    film = film_of(rows(Drawn("a", noise(3)))[0], "rgb", [0.04, 1.0])
    assert film.times_s == (0.04, 1.0) and film.names == ("0.04 s", "1.00 s") and film.clip.name == "a"
    assert film_of({"id": "x", "features": {}}, "rgb", [0.0]) is None
