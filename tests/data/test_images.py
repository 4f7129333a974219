import io
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from pellucid.data import decode, images
from pellucid.data.stored import Stored
from pellucid.data.views import TestView
from pellucid.errors import BadData, UnsafeInput


def photo(width: int, height: int, kind: str = "jpeg", **options: object) -> bytes:
    """Waves, all of which a quarter of the size can show."""
    down, across = np.mgrid[:height, :width]
    values = 128 + 100 * np.stack([np.sin(across / 25), np.cos(down / 30), np.sin((across + down) / 40)], -1)
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


# ---- the test view ------------------------------------------------------------------------------------------------


def test_a_picture_of_the_views_own_size_is_shown_as_it_is():
    data = photo(32, 32, "png")
    seen = images.test_image(data, TestView(32, 1.0))
    assert np.array_equal(seen.permute(1, 2, 0).numpy(), np.asarray(Image.open(io.BytesIO(data))))


def test_a_view_of_path_bytes_and_place_in_a_pack_is_the_same(tmp_path):
    data, view = photo(90, 70), TestView(48)
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "pack").write_bytes(b"before" + data + b"after")
    sources = [data, str(tmp_path / "a.jpg"), tmp_path / "a.jpg", Stored(str(tmp_path / "pack"), 6, len(data))]
    first, *others = [images.test_image(source, view) for source in sources]
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("fast", [True, False])
def test_a_turned_photograph_is_seen_upright(fast):
    exif = Image.Exif()
    exif[0x0112] = 3
    upright, turned = photo(90, 70, quality=95), photo(90, 70, quality=95, exif=exif)
    upright_seen, turned_seen = (images.test_image(data, TestView(70, 1.0), fast=fast) for data in (upright, turned))
    assert torch.equal(turned_seen, upright_seen.flip(1, 2)) and not torch.equal(turned_seen, upright_seen)


@pytest.mark.parametrize(("width", "height", "scale"), [(900, 600, 4), (639, 633, 4), (320, 257, 2), (255, 200, 1), (64, 64, 1)])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(width, height, scale, monkeypatch):
    data, view, decoded = photo(width, height, quality=95), TestView(56), []
    whole = decode.Picture.array
    monkeypatch.setattr(decode.Picture, "array", lambda self, least=None: decoded.append(whole(self, least)) or decoded[-1])
    fast, exact = images.test_image(data, view), images.test_image(data, view, fast=False)
    assert decoded[0].shape[:2] == (-(-height // scale), -(-width // scale))
    assert (fast.float() - exact.float()).abs().mean() < 1


def test_no_row_is_lost_where_side_times_ratio_rounds_down():
    assert 7 * (61 / 7) < 61
    for fast in (True, False):
        assert images.test_image(photo(7, 7, "png"), TestView(61, 1.0), fast=fast).shape == (3, 61, 61)


def test_a_strip_is_seen_without_resizing_all_of_it(monkeypatch):
    strip = np.zeros((40, 50_000, 3), np.uint8)
    strip[:, 25_000:] = 255
    monkeypatch.setattr(torch.nn.functional, "interpolate", lambda *a, **k: pytest.fail("all of it"))
    file = io.BytesIO()
    Image.fromarray(strip).save(file, "png")
    seen = images.test_image(file.getvalue(), TestView(32, 1.0))
    assert seen.shape == (3, 32, 32)
    assert seen[:, :, 0].max() == 0 and seen[:, :, -1].min() == 255


@pytest.mark.parametrize("view", [TestView(32, 1.2), TestView(32, 0.0), TestView(0)])
def test_a_view_that_cannot_be_is_refused(view):
    with pytest.raises(ValueError, match="expected a crop above 0, at most 1, and a size of at least 1"):
        images.test_image(photo(40, 40), view)


# ---- batches ------------------------------------------------------------------------------------------------------


def test_a_batch_holds_the_views_in_order_and_lies_channels_last():
    views = [images.test_image(photo(60 + 9 * i, 50), TestView(32)) for i in range(3)]
    batch = images.stacked(views)
    assert torch.equal(batch, torch.stack(views)) and batch.is_contiguous(memory_format=torch.channels_last)


# ---- looked at before training ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Two good pictures, one empty, one missing, one that only decoding finds out."""
    (tmp_path / "good.jpg").write_bytes(photo(40, 30))
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "half.jpg").write_bytes(photo(200, 200)[:-900])
    (tmp_path / "good.png").write_bytes(photo(40, 30, "png"))
    names = ["good.jpg", "empty.jpg", "half.jpg", "missing.jpg", "good.png"]
    return [{"id": f"list.csv:{i + 2}", "image": str(tmp_path / name)} for i, name in enumerate(names)]


def names(examples) -> list[str]:
    return [example["image"].rpartition("/")[2] for example in examples]


def test_broken_pictures_are_refused_by_row_and_path(folder):
    with pytest.raises(BadData) as told:
        images.check_images(folder, "list.csv")
    line = str(told.value)
    assert line.startswith("list.csv: 2 of 5 pictures cannot be used: list.csv:3: ") and "\n" not in line
    assert "empty.jpg: 0 bytes" in line and "missing.jpg: no such file" in line


@pytest.mark.parametrize("workers", [0, 3])
def test_broken_pictures_are_left_out_only_when_asked_and_told_by_path(folder, workers, caplog):
    with caplog.at_level(logging.WARNING, "pellucid"):
        assert names(images.check_images(folder, "list.csv", True, workers)) == ["good.jpg", "half.jpg", "good.png"]
    lines = [record.getMessage() for record in caplog.records]
    assert "empty.jpg" in lines[0] and "missing.jpg" in lines[1] and lines[2] == "list.csv: 2 of 5 pictures cannot be used; left out"


def test_a_full_look_finds_half_a_picture_too(folder):
    assert names(images.check_images(folder, "list.csv", True, full=True)) == ["good.jpg", "good.png"]


def test_sound_pictures_pass_in_order_and_without_a_word(folder, caplog):
    sound = [folder[4], {"id": "b", "image": photo(9, 9)}, folder[0]]
    assert images.check_images(sound, "here", full=True) == sound
    assert not caplog.records


def test_all_broken_is_an_error_even_where_broken_ones_may_be_left_out(folder):
    with pytest.raises(BadData, match="2 of 2 pictures cannot be used"):
        images.check_images([folder[1], folder[3]], "list.csv", skip_broken=True)


def test_a_huge_header_is_refused_as_unsafe_before_training(folder, monkeypatch):
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "1000")
    with pytest.raises(UnsafeInput, match=r"good\.jpg: its header claims 40 x 30 pixels"):
        images.check_images(folder[:1], "list.csv")


def test_threads_at_once_see_what_one_sees(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    pictures = [photo(60 + i, 50, kind) for i in range(8) for kind in ("jpeg", "png")] * 3
    with ThreadPoolExecutor(6) as threads:
        seen = list(threads.map(lambda data: images.test_image(data, TestView(32)), pictures))
    assert all(torch.equal(picture, images.test_image(data, TestView(32))) for picture, data in zip(seen, pictures, strict=True))
    assert ImageFile.LOAD_TRUNCATED_IMAGES
