"""Clips: frames evenly by the time at which they are shown, parts, sound; what is broken is told in one line."""

import os
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from PIL import Image

from films import folder_of, noise, number_of, numbered, numbers, rewritten, seen, told, turned, until_fault, voice
from pellucid.data import video
from pellucid.data.clips.clip import Clip, Film, FrameFolder, Shot, VideoFile, clip_of
from pellucid.data.clips.shots import chosen

av = pytest.importorskip("av")

COUNT = 100
REMEDY = "; fetch it again, or write it anew with another program"
UNEVEN = [0, 0.04, 0.08, 0.5, 0.52, 0.6, 2.0, 2.04, 2.5, 3.0, 3.01, 3.02, 3.03, 3.9]
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(64000) / 16000)
SOUND = np.stack([TONE, np.zeros_like(TONE)])  # of the left alone


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def film(place):
    return numbers(place / "film.mp4", COUNT)


# ---- which frames ---------------------------------------------------------------------------------------------------------


def test_the_frame_in_the_middle_of_each_piece_is_taken():
    times = np.arange(10) / 10
    assert chosen(times, 1.0, 0, 0) == list(range(10))
    assert chosen(times, 1.0, 2, 0) == [2, 7]  # of two halves, on the screen at 0.25 and 0.75
    assert chosen(times, 1.0, 0.1, 0) == [5]  # one piece at least
    assert chosen(times, 1.0, 1000, 0) == list(range(10))  # no frame twice
    assert chosen(times, 1.0, 0, 3) == [1, 5, 8]  # middles of 0-3.3, 3.3-6.7, 6.7-10
    assert chosen(np.array([0.0, 0.9]), 2.0, 2, 0) == [0, 1]  # at 0.25 the first, at 0.75 still the first; then the second


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts"])
def test_uneven_frames_are_taken_by_their_times(place, ending):
    clip = VideoFile(numbers(place / f"uneven.{ending}", 0, UNEVEN))
    shots = list(clip.shots())
    assert [shot.time_s for shot in shots] == pytest.approx(UNEVEN, abs=2e-3)
    assert [number_of(shot.pictures[0]) for shot in shots] == list(range(len(UNEVEN)))
    assert seen(clip, rate=1) == [2, 5, 7, 12]  # at 0.49, 1.48, 2.46 and 3.45 s, since it is over at 3.94 s
    part = list(VideoFile(clip.path, 1.0, 2.5).shots())
    assert [number_of(shot.pictures[0]) for shot in part] == [5, 6, 7]  # the sixth is still on the screen at 1 s
    assert [shot.time_s for shot in part] == pytest.approx([0.0, 1.0, 1.04], abs=2e-3)
    assert [shot.index for shot in part] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "encoder", "options"),
    [
        ("closed.mp4", "libx264", {"g": "10"}),
        ("open.mp4", "libx264", {"g": "10", "x264-params": "open-gop=1:bframes=3"}),
        ("forward.mp4", "libx264", {"bf": "0"}),
        ("later.mkv", "mpeg4", {"bf": "2"}),
        ("later.avi", "mpeg4", {"bf": "2"}),
        ("plain.ts", "libx264", {"g": "15"}),
        ("old.mpg", "mpeg2video", {"bf": "2"}),
        ("raw.h264", "libx264", {"g": "10"}),
    ],
)
def test_frames_that_are_asked_for_are_those_of_a_decoding_of_all(place, name, encoder, options):
    path = numbers(place / name, COUNT, encoder=encoder, **options)
    whole = [frame.picture for frame in video.frames(path)]
    assert [number_of(picture) for picture in whole] == list(range(COUNT))
    for start_s, end_s in ((0.0, None), (1.3, None), (0.42, 2.02)):
        first, last = round(start_s * 25 - 0.49), COUNT if end_s is None else 51
        for how in ({}, {"rate": 2}, {"rate": 3, "run": 4}, {"most": 3}):
            shots = list(VideoFile(path, start_s, end_s).shots(**how))
            for shot in shots:
                places = [min(first + shot.index + step, last - 1) for step in range(how.get("run", 1))]
                assert all((picture == whole[place]).all() for picture, place in zip(shot.pictures, places, strict=True))
                assert shot.time_s == pytest.approx(max(0, (first + shot.index) / 25 - start_s), abs=2e-3)
            length_s = min(last / 25, end_s or 4) - start_s
            assert len(shots) == how.get("most", round(how["rate"] * length_s) if "rate" in how else last - first)


def test_only_what_is_asked_for_is_decoded(place, monkeypatch):
    path = numbers(place / "keys.mp4", COUNT, g="10", bf="0")
    made = []
    upright = video.upright
    monkeypatch.setattr(video, "upright", lambda frame, convert=None: made.append(frame.pts) or upright(frame, convert))
    assert seen(VideoFile(path), most=2) == [25, 75]
    assert len(made) == 2


def test_past_the_end_the_last_frame_is_repeated(film):
    shot = list(VideoFile(film).shots(rate=5, run=30))[-1]
    assert [number_of(picture) for picture in shot.pictures] == [*range(shot.index, COUNT), *[COUNT - 1] * (30 - COUNT + shot.index)]
    part = next(iter(VideoFile(film, 1.0, 1.12).shots(run=5)))
    assert [number_of(picture) for picture in part.pictures] == [25, 26, 27, 27, 27]  # nothing of what comes after the part


@pytest.mark.parametrize("name", ["one.mp4", "one.avi", "one.mkv", "one.ts"])
def test_one_frame_is_a_clip(place, name):
    clip = VideoFile(numbers(place / name, 1))
    assert [(shot.time_s, shot.pictures.shape) for shot in clip.shots(rate=5, most=9, run=3)] == [(0.0, (3, 48, 64, 3))]


def test_a_film_turned_by_its_header_is_seen_upright(film, place):
    shots = list(VideoFile(turned(film, place / "turned.mp4")).shots(most=2))
    assert [shot.pictures.shape for shot in shots] == [(1, 64, 48, 3)] * 2
    assert [number_of(np.rot90(shot.pictures[0])) for shot in shots] == [25, 75]


def test_frames_hidden_by_an_edit_list_are_not_of_the_clip(place):
    data = bytearray(numbers(place / "edits.mp4", 50).read_bytes())
    at = data.index(b"elst") + 16  # after version, count and length: the time at which the film begins, in 1/12800 s
    data[at : at + 4] = (int.from_bytes(data[at : at + 4]) + 10 * 512).to_bytes(4)
    (place / "later.mp4").write_bytes(data)
    shots = list(VideoFile(place / "later.mp4").shots())
    assert [number_of(shot.pictures[0]) for shot in shots] == list(range(10, 50))
    assert [shot.time_s for shot in shots] == pytest.approx([number / 25 for number in range(40)])
    assert seen(VideoFile(place / "later.mp4", 0.2, 0.32)) == [15, 16, 17]


def test_times_that_begin_anew_are_made_of_the_rate(place):
    both = place / "both.ts"
    both.write_bytes(numbers(place / "1.ts", 10).read_bytes() + numbers(place / "2.ts", 10, size=(96, 128)).read_bytes())
    shots = list(VideoFile(both).shots())
    assert [number_of(shot.pictures[0]) for shot in shots] == [*range(10), *range(10)]
    assert [shot.time_s for shot in shots] == pytest.approx([number / 25 for number in range(20)])


def test_frames_may_change_their_size_and_those_of_a_shot_are_as_large_as_its_first(place):
    both = place / "both.h264"
    both.write_bytes(numbers(place / "1.h264", 10).read_bytes() + numbers(place / "2.h264", 10, size=(96, 128)).read_bytes())
    shots = list(VideoFile(both).shots(run=2))
    assert [shot.pictures.shape for shot in shots] == [(2, 48, 64, 3)] * 10 + [(2, 96, 128, 3)] * 10
    assert [number_of(picture) for picture in shots[9].pictures] == [9, 0]


def test_a_name_is_no_address_and_an_ending_no_promise(film, place):
    for name in ("12:30.mp4", "http:x.mp4", "film%03d.mp4", "film.txt"):
        (place / name).write_bytes(film.read_bytes())
        assert seen(VideoFile(place / name), most=2) == [25, 75]


def test_real_videos_give_the_frames_of_a_decoding_of_all(shared):
    for name in ("part_0.mp4", "test.avi"):  # the times of the second are told out of order
        path = shared / "data" / "videos" / name
        whole = [frame.picture for frame in video.frames(path)]
        shots = list(VideoFile(path).shots(rate=4, run=2))
        assert all((shot.pictures[0] == whole[shot.index]).all() and (shot.pictures[1] == whole[shot.index + 1]).all() for shot in shots)
        assert len(shots) == round(4 * {"part_0.mp4": 1.1, "test.avi": 6.56}[name])


def _numbers_of(clip: Clip) -> list[int]:
    return seen(clip, rate=2)


def test_clips_are_read_alike_in_threads_and_in_other_processes(film):
    clip = VideoFile(film, 1.0, 3.0)
    expected, found = [31, 43, 56, 68], []
    threads = [threading.Thread(target=lambda: found.append(_numbers_of(clip))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        found.append(pool.submit(_numbers_of, clip).result(timeout=60))
    assert found == [expected] * 5
    assert pickle.loads(pickle.dumps(clip)) == clip and len({clip, VideoFile(film, 1.0, 3.0), VideoFile(film)}) == 2


# ---- what is broken -------------------------------------------------------------------------------------------------------


def test_a_clip_cut_short_gives_what_is_whole_and_then_one_line(place):
    noise(place / "long.mp4", 40)
    for name, encoder in (("cut.mp4", "libx264"), ("cut.avi", "mpeg4"), ("cut.mkv", "mpeg4")):
        path = rewritten(place / "long.mp4", place / name, encoder, **({"movflags": "faststart"} if name == "cut.mp4" else {}))
        assert len(list(VideoFile(path).shots())) == 40
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        found, line = until_fault(VideoFile(path))
        assert 5 < len(found) < 30 and line == f"{path}: cut short; it ends after {len(found)} frames{REMEDY}"
        assert len(list(VideoFile(path, 0.0, 0.2).shots())) == 5  # a part that is whole is no fault
        assert until_fault(VideoFile(path, 1.4)) == ([], line)


def test_a_damaged_frame_ends_a_clip_with_one_line(place):
    path = numbers(place / "damaged.avi", 60, encoder="mpeg4", g="1")
    data = bytearray(path.read_bytes())
    at = 0
    for _ in range(31):
        at = data.index(b"00dc", at + 1)
    size = int.from_bytes(data[at + 4 : at + 8], "little")
    data[at + 8 : at + 8 + size] = bytes(size)  # the 31st frame
    path.write_bytes(data)
    found, line = until_fault(VideoFile(path))
    assert found == list(range(len(found))) and 28 <= len(found) <= 30  # a decoder may hold back the last of the whole frames
    assert line == f"{path}: damaged after {len(found)} frames (Invalid data found when processing input){REMEDY}"


def test_a_file_that_is_shorter_than_its_header_says_is_cut_short(place):
    path = numbers(place / "header.flv", COUNT)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, line = until_fault(VideoFile(path))
    assert found == list(range(len(found))) and line == f"{path}: cut short; it ends after {len(found)} frames{REMEDY}"


def test_what_is_no_video_is_one_line(film, place):
    unread = f"not a video that can be read (of no format that is read here){REMEDY}"
    (place / "empty.mp4").write_bytes(b"")
    (place / "text.txt").write_text("a text, no video\n" * 99)  # which some players show as moving letters
    (place / "list.mp4").write_text(f"ffconcat version 1.0\nfile {film}\n")  # plays another file
    Image.new("RGB", (8, 8)).save(place / "still.png")
    lines = {
        "none.mp4": "no such file",
        "empty.mp4": f"not a video that can be read (0 bytes){REMEDY}",
        "text.txt": unread,
        "list.mp4": unread,
        "still.png": unread,
    }
    for name, line in lines.items():
        clip = VideoFile(place / name)
        for call in (lambda clip=clip: list(clip.shots()), clip.look, clip.sound):
            assert told(call) == f"{place / name}: {line}"
    assert told(VideoFile(place).look) == f"{place}: a folder, where a video's file is expected"
    assert told(VideoFile(place / "none.mp4").key) == f"{place / 'none.mp4'}: no such file"


def test_a_part_after_the_end_is_one_line(film):
    clip = VideoFile(film, 9.0)
    line = f"{film}: the part begins at 9 s, and the film is over at 4 s"
    assert told(clip.look) == told(lambda: list(clip.shots())) == line
    assert seen(VideoFile(film, 3.9, 99.0)) == [97, 98, 99]


def test_frames_of_too_many_pixels_are_refused_where_they_begin(place, monkeypatch):
    grows = place / "grows.h264"
    grows.write_bytes(numbers(place / "3.h264", 10).read_bytes() + numbers(place / "4.h264", 10, size=(96, 128)).read_bytes())
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "5000")
    found, line = until_fault(VideoFile(grows))
    assert found == list(range(10)) and line == f"{grows}: frames of 128 x 96 pixels; $PELLUCID_MAX_PIXELS allows 5,000"
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "1000")
    assert told(VideoFile(grows).look) == f"{grows}: frames of 64 x 48 pixels; $PELLUCID_MAX_PIXELS allows 1,000"


# ---- sound ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "error"), [("s.avi", 1e-4), ("s.mov", 1e-4), ("s.mp4", 0.01), ("s.mkv", 0.01), ("s.ts", 0.01)])
def test_sound_is_the_mean_of_its_channels_at_its_time(place, name, error):
    path = numbers(place / name, COUNT, sound=SOUND)
    whole = VideoFile(path).sound()
    assert whole.dtype == np.float32 and len(whole) == pytest.approx(64000, abs=1024)
    np.testing.assert_allclose(whole[1000:60000], SOUND.mean(axis=0)[1000:60000], atol=error)
    np.testing.assert_array_equal(VideoFile(path, 2.0, 3.0).sound(), whole[32000:48000])
    assert len(VideoFile(path).sound(8000)) == pytest.approx(32000, abs=512)
    assert seen(VideoFile(path), most=2) == [25, 75]


def test_sound_that_pauses_is_silent_there(place):
    path = place / "pause.mkv"
    with av.open(str(path), "w") as into:
        track = into.add_stream("pcm_s16le", rate=16000)
        track.layout = "mono"
        voice(into, track, TONE[None, :16384], 0, 48000)
    sound = VideoFile(path).sound()
    np.testing.assert_allclose(sound[:16384], TONE[:16384], atol=1e-4)
    assert not sound[16384:48000].any()
    np.testing.assert_allclose(sound[48000:], TONE[:16384], atol=1e-4)


def test_a_file_of_sound_alone_has_no_pictures_and_one_of_pictures_no_sound(film, place):
    path = place / "voice.wav"
    with av.open(str(path), "w") as into:
        track = into.add_stream("pcm_s16le", rate=16000)
        track.layout = "stereo"
        voice(into, track, SOUND)
    VideoFile(path).look()
    np.testing.assert_allclose(VideoFile(path, 1.0, 2.0).sound(), SOUND.mean(axis=0)[16000:32000], atol=1e-4)
    assert VideoFile(path, 9.0).sound() is None
    assert told(lambda: list(VideoFile(path).shots())) == f"{path}: no pictures in it, only audio"
    assert VideoFile(film).sound() is None


def test_sound_cut_short_is_one_line(place):
    for name in ("cut_sound.mkv", "cut_sound.avi"):
        path = numbers(place / name, COUNT, sound=SOUND)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert told(VideoFile(path).sound) == f"{path}: cut short, and its sound with it{REMEDY}"
        assert len(VideoFile(path, 0.0, 0.5).sound()) == 8000


def test_the_cover_of_a_record_is_no_film(place):
    with av.open(str(place / "record.mp3"), "w") as into:
        track, cover = into.add_stream("libmp3lame", rate=16000), into.add_stream("mjpeg")
        track.layout, cover.disposition = "mono", av.stream.Disposition.attached_pic
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        into.mux([*cover.encode(av.VideoFrame.from_ndarray(numbered(1), format="rgb24")), *cover.encode()])
        voice(into, track, TONE[None, :16384])
    line = f"{place / 'record.mp3'}: no pictures in it, only audio"
    assert told(lambda: list(VideoFile(place / "record.mp3").shots())) == line
    assert len(VideoFile(place / "record.mp3").sound()) >= 16384


# ---- keys, rows, films ----------------------------------------------------------------------------------------------------


def test_another_file_another_part_or_a_change_has_another_key(film, tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(film.read_bytes())
    folder = folder_of(tmp_path / "f", 3)
    clips = [
        VideoFile(path),
        VideoFile(path, 1.0),
        VideoFile(path, 0.0, 1.0),
        VideoFile(film),
        FrameFolder(folder),
        FrameFolder(folder, 5.0),
    ]
    keys = [clip.key() for clip in clips]
    assert len(set(keys)) == len(keys) and [clip.key() for clip in clips] == keys and all(int(key, 16) for key in keys)
    monkeypatch.chdir(tmp_path)
    assert VideoFile("a.mp4").key() == keys[0]
    os.utime(path, ns=(1, 1))
    os.utime(folder / "img_00002.png", ns=(1, 1))
    assert VideoFile(path).key() != keys[0] and FrameFolder(folder).key() != keys[4]


def test_a_row_says_which_clip_is_meant(film, tmp_path):
    clip = VideoFile(film)
    assert clip_of({"id": "a", "video": clip, "start_s": 1}) is clip
    assert clip_of({"id": "a", "video": str(film), "start_s": "1.5", "end_s": ""}) == VideoFile(str(film), 1.5)
    assert clip_of({"id": "a", "video": str(tmp_path), "end_s": 2}) == FrameFolder(str(tmp_path), 25.0, 0.0, 2.0)
    assert clip_of({"video": str(film), "start_s": 1, "end_s": 2}).name == f"{film} from 1 to 2 s"
    lines = {
        "r: expected a video's path, found None": {},
        "r: start_s is 'soon'; expected seconds, 0 or more": {"video": "a", "start_s": "soon"},
        "r: end_s is -1; expected seconds, 0 or more": {"video": "a", "end_s": -1},
        "r: the part ends at 1 s, and begins at 2 s; expected an end after the beginning": {"video": "a", "start_s": 2, "end_s": 1},
    }
    for line, row in lines.items():
        assert told(lambda row=row: clip_of({"id": "r", **row})) == line


class Held:
    """A clip in memory that cannot seek."""

    name = "held"

    def __init__(self, held):
        self.held = held

    def key(self):
        return "0"

    def look(self):
        pass

    def sound(self, rate=16000):
        return None

    def shots(self, rate=0, most=0, run=1):
        yield from self.held


def test_a_film_shows_the_frame_on_the_screen_at_each_moment(film):
    moments = (2.5, 0.0, 0.05, 2.5, 99.0)
    clip = VideoFile(film)
    for source in (clip, Held(list(clip.shots()))):
        pictures = Film(source, moments, ("a",) * 5).pictures()
        assert [tuple(picture.shape) for picture in pictures] == [(3, 84, 112)] * 5
        assert [number_of(picture.permute(1, 2, 0).numpy()) for picture in pictures] == [62, 0, 1, 62, 99]
    assert Film(clip, (), ()).pictures() == []


def test_small_pictures_are_averages_over_areas():
    picture = np.zeros((1, 4, 8, 3), dtype=np.uint8)
    picture[0, :2, :2] = [[[40, 0, 8]] * 2, [[80, 0, 8]] * 2]
    (small,) = Film(Held([Shot(0, 0.0, picture)]), (0.0,), ("a",)).pictures(side=4)
    assert small.shape == (3, 2, 4) and small.dtype == torch.uint8
    assert small[:, 0, 0].tolist() == [60, 0, 8] and not small[:, 1].any() and not small[:, 0, 1:].any()
