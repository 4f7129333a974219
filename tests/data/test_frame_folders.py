"""Folders of numbered frames as clips, and stored optical flow; what is no film is told in one line."""

import numpy as np
from PIL import Image

from films import folder_of, number_of, seen, told, until_fault
from pellucid.data.clips.clip import FrameFolder


def test_a_folder_of_frames_is_a_clip_in_the_order_of_its_numbers(tmp_path):
    clip = FrameFolder(folder_of(tmp_path / "f", 12, "img_{}.png"), rate=4.0)  # 10 comes after 9, not after 1
    clip.look()
    assert seen(clip) == list(range(1, 13))
    assert [(shot.index, shot.time_s, number_of(shot.pictures[1])) for shot in clip.shots(rate=1, run=2)] == [
        (2, 0.5, 4),
        (6, 1.5, 8),
        (10, 2.5, 12),
    ]
    assert seen(FrameFolder(clip.path, 4.0, 1.0, 2.0)) == [5, 6, 7, 8]
    assert clip.sound() is None and clip.flow() is None
    assert seen(FrameFolder(folder_of(tmp_path / "g", 5, "{:06d}.png", first=0))) == list(range(5))


def test_stored_flow_is_read_along_both_axes(tmp_path):
    for number in range(1, 7):
        Image.fromarray(np.full((6, 8), 100 + number, dtype=np.uint8)).save(tmp_path / f"flow_x_{number:05d}.png")
        Image.fromarray(np.full((6, 8), 200 + number, dtype=np.uint8)).save(tmp_path / f"flow_y_{number:05d}.png")
    clip = FrameFolder(tmp_path)
    clip.look()
    shots = list(clip.flow(most=2, run=3))
    assert [shot.pictures.shape for shot in shots] == [(3, 6, 8, 2)] * 2
    assert [shot.pictures[:, 0, 0].tolist() for shot in shots] == [
        [[102, 202], [103, 203], [104, 204]],
        [[105, 205], [106, 206], [106, 206]],
    ]
    assert told(lambda: list(clip.shots())) == f"{tmp_path}: no frames in it; expected pictures named as img_00001.jpg"
    (tmp_path / "flow_y_00006.png").unlink()
    assert told(clip.flow) == f"{tmp_path}: 6 pictures of flow along x and 5 along y; expected as many"


def test_a_folder_that_is_no_film_is_one_line(tmp_path):
    clip = FrameFolder(folder_of(tmp_path / "f", 9))
    (clip.path / "img_00004.png").unlink()
    (clip.path / "img_00006.png").unlink()
    gaps = f"{clip.path}: 2 of its frames are missing, the first after img_00003.png; number them without gaps"
    assert told(clip.look) == told(lambda: list(clip.shots())) == gaps
    twice = FrameFolder(folder_of(folder_of(tmp_path / "t", 2), 1, "img_{}.png"))
    assert told(twice.look) == f"{twice.path}: img_00001.png and img_1.png are both number 1; leave one of them there"
    kinds = FrameFolder(folder_of(folder_of(tmp_path / "k", 2), 1, "thumb_{}.png"))
    assert told(kinds.look) == f"{kinds.path}: frames of two kinds, img_* and thumb_*; leave one of them there"
    named = FrameFolder(folder_of(tmp_path / "n", 1, "cover.png"))
    assert told(named.look) == f"{named.path}: cover.png has no number; expected frames only, as img_00001.jpg"
    (tmp_path / "e").mkdir()
    assert told(FrameFolder(tmp_path / "e").look) == f"{tmp_path / 'e'}: no frames in it; expected pictures named as img_00001.jpg"
    assert told(FrameFolder(tmp_path / "none").key) == f"{tmp_path / 'none'}: no such folder"
    broken = folder_of(tmp_path / "b", 3)
    (broken / "img_00002.png").write_bytes(b"")
    found, line = until_fault(FrameFolder(broken))
    assert found == [1] and line == f"{broken / 'img_00002.png'}: 0 bytes, so no picture; fetch it again, or leave broken pictures out"
    assert told(lambda: list(FrameFolder(broken, 25.0, 9.0).shots())) == f"{broken}: the part begins at 9 s, and the film is over at 0.12 s"
