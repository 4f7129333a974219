"""Frames of videos: all of them, in order, at their times, upright; what is broken is told, after what is whole."""

import pathlib
from fractions import Fraction

import numpy as np
import pytest

from films import noise, rewritten, turned
from pellucid.data import images, video
from pellucid.errors import BadData, BadUsage, UnsafeInput

av = pytest.importorskip("av")

SIZE = (48, 64)
COUNT = 24


def shade(index: int) -> int:
    return 20 + 8 * index


def written(path: pathlib.Path, size=SIZE, rate=Fraction(30000, 1001), count=COUNT) -> pathlib.Path:
    """Frames of one grey each, lighter and lighter, a white stripe on top."""
    with video.Writer(path, rate) as film:
        for i in range(count):
            picture = np.full((*size, 3), shade(i), dtype=np.uint8)
            picture[:8] = 255
            film.add(picture)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> pathlib.Path:
    return written(tmp_path_factory.mktemp("v") / "clip.mp4")


def test_what_is_written_is_read_frame_by_frame_at_its_time(clip):
    found = list(video.frames(clip))
    assert [frame.index for frame in found] == list(range(COUNT))
    assert [frame.time_s for frame in found] == pytest.approx([i * 1001 / 30000 for i in range(COUNT)], abs=1e-4)
    assert [int(frame.picture[30].mean()) for frame in found] == pytest.approx([shade(i) for i in range(COUNT)], abs=3)
    assert video.about(clip) == video.Clip(64, 48, Fraction(30000, 1001))


def test_every_nth_frame_is_the_same_frame(clip):
    whole = list(video.frames(clip))
    some = list(video.frames(clip, every=5))
    assert [frame.index for frame in some] == [0, 5, 10, 15, 20]
    assert all((frame.picture == whole[frame.index].picture).all() and frame.time_s == whole[frame.index].time_s for frame in some)


@pytest.mark.parametrize("size", [(47, 63), (48, 63), (2, 2)])
def test_odd_sizes_stay_as_they_are(tmp_path, size):
    found = list(video.frames(written(tmp_path / "odd.mp4", size, count=3)))
    assert [frame.picture.shape for frame in found] == [(*size, 3)] * 3


def test_where_there_is_no_h264_mpeg4_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "ENCODERS", ("no such encoder", "mpeg4"))
    path = written(tmp_path / "old.mp4", (47, 63), count=5)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    found = list(video.frames(path))
    assert len(found) == 5 and found[4].picture.shape == (47, 63, 3)
    assert abs(int(found[4].picture[30].mean()) - shade(4)) < 6


def test_a_frame_as_a_file_is_the_same_picture(clip):
    frame = next(iter(video.frames(clip)))
    np.testing.assert_array_equal(np.asarray(images.open_image(frame.file())), frame.picture)


def test_a_phone_held_upright_gives_upright_frames(clip, tmp_path):
    picture = next(iter(video.frames(turned(clip, tmp_path / "turned.mp4")))).picture
    assert picture.shape == (64, 48, 3)
    assert picture[:, -8:].mean() > 240 > 60 > picture[:, :30].mean()  # the stripe on top is now on the right


# ---- broken ---------------------------------------------------------------------------------------------------------------


def told_until_fault(path) -> tuple[int, str]:
    count = 0
    try:
        for _ in video.frames(path):
            count += 1
    except BadData as fault:
        return count, str(fault)
    raise AssertionError(f"{path} was read as if it were whole")


def test_a_video_cut_short_gives_its_whole_frames_and_then_one_line(tmp_path):
    noise(tmp_path / "long.mp4", 40)
    fast = rewritten(tmp_path / "long.mp4", tmp_path / "fast.mp4", "libx264", movflags="faststart")  # its table of frames comes first
    avi = rewritten(tmp_path / "long.mp4", tmp_path / "long.avi", "mpeg4")
    assert sum(1 for _ in video.frames(fast)) == sum(1 for _ in video.frames(avi)) == 40
    for path in (fast, avi):
        data = path.read_bytes()
        cut = tmp_path / f"cut{path.suffix}"
        cut.write_bytes(data[: len(data) // 2])
        count, line = told_until_fault(cut)
        assert 10 < count < 30 and line.startswith(str(cut)) and f"after {count} frames" in line and "\n" not in line


def test_a_video_whose_table_is_lost_is_one_line(clip, tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:-100])
    count, line = told_until_fault(cut)
    assert count == 0 and line.startswith(f"{cut}: ") and "can be read" in line


@pytest.mark.parametrize(("data", "message"), [(b"", "not a video"), (b"a text, no video\n" * 99, "not a video"), (None, "no such file")])
def test_what_is_no_video_is_one_line(tmp_path, data, message):
    path = tmp_path / "x.mp4"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(BadData, match=message):
        video.about(path)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as into:
        stream = into.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        into.mux(stream.encode(frame))
        into.mux(stream.encode())
    with pytest.raises(BadData, match="no pictures in it, only audio"):
        video.about(tmp_path / "a.mp4")


def test_frames_of_too_many_pixels_are_refused_undecoded(clip, monkeypatch):
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "1000")
    with pytest.raises(UnsafeInput, match="64 x 48"):
        next(iter(video.frames(clip)))


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(BadUsage, match="cannot be written"), video.Writer(tmp_path / "no folder" / "x.mp4", Fraction(25)) as film:
        film.add(np.zeros((16, 16, 3), dtype=np.uint8))


def test_real_videos_are_read_to_their_last_frame(shared):
    known = {"part_0.mp4": 32, "test.avi": 164, "demo_spatiotemporal_det.mp4": 57}
    assert {name: sum(1 for _ in video.frames(shared / "data" / "videos" / name)) for name in known} == known
