import io
import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from pellucid.data import decode
from pellucid.data.decode import look, read_bytes
from pellucid.data.stored import Stored
from pellucid.errors import BadData, BadUsage, UnsafeInput

WHITE, RED, GREEN, BLUE = (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)


def encoded(image: Image.Image, kind: str = "png", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(width: int = 64, height: int = 48) -> Image.Image:
    """Smooth enough that JPEG changes little."""
    down, across = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([255 * across / width, 255 * down / height, across / 2 + down / 2], -1).astype(np.uint8))


def png(depth: int, colour: int, rows: list[bytes], width: int, height: int | None = None) -> bytes:
    """A PNG written by hand."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height or len(rows), depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def colours(data: bytes) -> list[tuple[int, ...]]:
    """All pixels, row by row, by both ways of decoding."""
    pixels = look(data).array()
    assert np.array_equal(pixels, np.array(look(data).image()))
    return [tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()]


def without_adobe(data: bytes) -> bytes:
    """A JPEG without its APP14 segment."""
    start = data.index(b"\xff\xee")
    return data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]


# ---- what is stored in other ways ---------------------------------------------------------------------------------


def test_sixteen_bits_keep_their_high_byte_in_grey_and_in_colour():
    values = [0, 0x00FF, 0x0100, 0x8000, 0xC0DE, 0xFFFF]
    grey = png(16, 0, [b"".join(v.to_bytes(2, "big") for v in values)], len(values))
    colour = png(16, 2, [b"".join(v.to_bytes(2, "big") * 3 for v in values)], len(values))
    assert colours(grey) == colours(colour) == [(v, v, v) for v in (0, 0, 1, 0x80, 0xC0, 255)]


def test_a_sixteen_bit_tiff_is_scaled_like_a_png():
    values = np.array([[0, 300, 65535]], np.uint16)
    assert colours(encoded(Image.fromarray(values), "tiff")) == [(0, 0, 0), (1, 1, 1), WHITE]


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_one_bit_is_black_and_white(kind):
    assert colours(encoded(Image.fromarray(np.array([[False, True]])), kind)) == [(0, 0, 0), WHITE]


def test_grey_is_the_same_number_three_times():
    assert colours(encoded(Image.fromarray(np.array([[0, 77, 255]], np.uint8)))) == [(0, 0, 0), (77, 77, 77), WHITE]


def test_what_is_see_through_lies_on_white():
    grey = Image.fromarray(np.array([[[100, 255], [100, 0], [0, 51]]], np.uint8))  # mode LA; 51 is a fifth
    assert colours(encoded(grey)) == [(100, 100, 100), WHITE, (204, 204, 204)]
    colour = Image.fromarray(np.array([[[255, 0, 0, 255], [9, 9, 9, 0], [255, 0, 0, 51]]], np.uint8))
    assert colours(encoded(colour)) == [RED, WHITE, (255, 204, 204)]


def test_a_palette_with_see_through_entries_lies_on_white():
    image = Image.new("P", (3, 1))
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putdata([0, 1, 2])
    assert colours(encoded(image)) == [RED, GREEN, BLUE]
    assert colours(encoded(image, transparency=1)) == [RED, WHITE, BLUE]
    assert colours(encoded(image, transparency=bytes([255, 0, 51]))) == [RED, WHITE, (204, 204, 255)]
    assert colours(encoded(image, "gif", transparency=2)) == [RED, GREEN, WHITE]


def test_a_colour_named_as_see_through_is_white():
    image = Image.fromarray(np.array([[RED, GREEN]], np.uint8))
    assert colours(encoded(image, transparency=GREEN)) == [RED, WHITE]
    sixteen = Image.fromarray(np.array([[0, 300]], np.uint16))
    assert colours(encoded(sixteen, transparency=300)) == [(0, 0, 0), WHITE]


def inks() -> Image.Image:
    """No ink, all cyan, all black, half magenta, in blocks that JPEG keeps."""
    image = Image.new("CMYK", (64, 16))
    for i, ink in enumerate([(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255), (0, 128, 0, 0)]):
        image.paste(ink, (16 * i, 0, 16 * i + 16, 16))
    return image


INKS_SEEN = [(255, 255, 255), (0, 255, 255), (0, 0, 0), (255, 127, 255)]


def blocks(data: bytes) -> np.ndarray:
    return look(data).array()[8, 8::16].astype(int)


def test_inks_are_mixed_the_same_from_tiff_and_from_adobes_inverted_jpeg():
    assert blocks(encoded(inks(), "tiff")).tolist() == [list(seen) for seen in INKS_SEEN]
    adobe = encoded(inks(), "jpeg", quality=95)
    assert b"Adobe" in adobe
    assert np.abs(blocks(adobe) - INKS_SEEN).max() <= 2


def test_a_cmyk_jpeg_without_adobes_marker_is_not_inverted():
    plain = without_adobe(encoded(Image.fromarray(255 - np.array(inks()), "CMYK"), "jpeg", quality=95))
    assert np.abs(blocks(plain) - INKS_SEEN).max() <= 2


def test_numbers_without_black_and_white_are_refused():
    with pytest.raises(BadData, match=r"row 3: a picture of 32-bit numbers.*save it with 8 or 16 bits"):
        look(encoded(Image.fromarray(np.array([[0.5]], np.float32)), "tiff"), "row 3").image()


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN, BLUE)]
    for kind in ("gif", "png", "webp"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "webp" else {}))
        assert set(colours(data)) == {RED}, kind


# ---- turned by EXIF -----------------------------------------------------------------------------------------------

# where the upright picture's top left, top right, bottom left and bottom right corner lie in what is stored
CORNERS = {1: "abcd", 2: "badc", 3: "dcba", 4: "cdab", 5: "acbd", 6: "bdac", 7: "dbca", 8: "cadb"}


def turned(orientation: int, kind: str, late: bool = False) -> bytes:
    """A wide picture whose corners are red, green, blue and white when upright, stored as `orientation` says."""
    hue = dict(zip("abcd", (RED, GREEN, BLUE, WHITE), strict=True))
    width, height = (96, 64) if orientation < 5 else (64, 96)
    image = Image.new("RGB", (width, height))
    for i, letter in enumerate(CORNERS[orientation]):
        left, top = i % 2 * width // 2, i // 2 * height // 2
        image.paste(hue[letter], (left, top, left + width // 2, top + height // 2))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, kind, exif=exif, **({"lossless": True} if kind == "webp" else {"quality": 95} if kind == "jpeg" else {}))
    if late:  # the chunk of EXIF after the pixels, as some programs write it
        at = data.index(b"eXIf") - 4
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        data = data[:at] + data[end:-12] + data[at:end] + data[-12:]
    return data


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "late png"])
@pytest.mark.parametrize("orientation", CORNERS)
def test_a_turned_picture_comes_out_upright(orientation, kind):
    data = turned(orientation, kind.split()[-1], kind.startswith("late"))
    pixels = look(data).array()
    assert look(data).size == (96, 64)
    assert pixels.shape == (64, 96, 3)
    assert np.array_equal(pixels, np.array(look(data).image()))
    corners = pixels[[16, 16, 48, 48], [24, 72, 24, 72]].astype(int)
    assert np.abs(corners - [RED, GREEN, BLUE, WHITE]).max() <= 3


def test_a_picture_with_a_broken_exif_block_is_upright():
    good = turned(6, "jpeg")
    at = good.index(b"Exif\0\0") + 6
    assert look(good[:at] + b"XX" + good[at + 2 :]).array().shape == (96, 64, 3)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Raw profile type exif", "\n\n\nno hexadecimal")
    assert look(encoded(photo(), pnginfo=notes)).array().shape == (48, 64, 3)


# ---- decoding smaller ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shortest", "scale"), [(None, 1), (121, 1), (120, 2), (61, 2), (60, 4), (31, 4), (30, 8), (16, 8), (1, 8)])
def test_a_jpeg_is_decoded_by_the_largest_power_of_two_that_leaves_enough(shortest, scale):
    data = encoded(photo(333, 240), "jpeg")
    assert look(data).array(shortest).shape == (-(-240 // scale), -(-333 // scale), 3)
    assert look(data).image(shortest).size == (-(-333 // scale), -(-240 // scale))


def test_other_formats_are_never_decoded_smaller():
    assert look(encoded(photo())).array(3).shape == (48, 64, 3)


def test_a_jpeg_decoded_smaller_shows_the_same_picture():
    data = encoded(photo(160, 120), "jpeg", quality=95)
    whole = look(data).array().astype(float)
    means = whole.reshape(30, 4, 40, 4, 3).mean((1, 3))
    assert np.abs(look(data).array(30) - means).mean() < 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"progressive": True}, {"quality": 3}])
def test_simplejpeg_gives_pillows_picture_to_the_bit(mode, options):
    pytest.importorskip("simplejpeg")
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    data = encoded(Image.fromarray(noise).convert(mode), "jpeg", **options)
    for shortest in (None, 30, 15, 8):
        assert np.array_equal(look(data).array(shortest), np.array(look(data).image(shortest)))


def test_the_decoders_agree_on_the_smallest_pictures():
    pytest.importorskip("simplejpeg")
    for side in range(1, 25):
        noise = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
        data = encoded(Image.fromarray(noise), "jpeg")
        assert np.array_equal(look(data).array(1), np.array(look(data).image(1))), side


def test_pictures_are_the_same_without_simplejpeg(monkeypatch):
    data = [turned(6, "jpeg"), encoded(photo(), "jpeg"), encoded(photo().convert("L"), "jpeg")]
    there = [look(d).array(16) for d in data]
    monkeypatch.setattr(decode, "_simplejpeg", lambda: None)
    assert all(np.array_equal(a, look(d).array(16)) for a, d in zip(there, data, strict=True))


# ---- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["array", "image"])
@pytest.mark.parametrize("kept", [0.4, 0.7, 0.95])
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "gif", "bmp"])
def test_half_a_picture_is_refused_and_named(kind, kept, how, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    data, path = encoded(noise, kind), tmp_path / "half.bin"
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(BadData, match=r"half\.bin: .*; fetch it again, or leave broken pictures out$"):
        getattr(look(str(path)), how)()


def test_half_a_picture_is_refused_also_where_another_library_asks_for_grey(monkeypatch):
    data = encoded(photo(), "jpeg")[:-80]
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    for how in ("array", "image"):
        with pytest.raises(BadData, match="truncated"):
            getattr(look(data), how)()
    assert ImageFile.LOAD_TRUNCATED_IMAGES  # theirs again


def test_a_setting_is_held_until_the_last_thread_has_left(monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with decode._WHOLE:
            inside.set()
            leave.wait(5)

    other = threading.Thread(target=stay)
    other.start()
    inside.wait(5)
    with decode._WHOLE:
        pass
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    leave.set()
    other.join()
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_text_named_as_a_picture_is_refused(tmp_path):
    path = tmp_path / "cat.jpg"
    path.write_text("<html>404</html>")
    with pytest.raises(BadData, match=r"cat\.jpg: no picture of a format read here \(JPEG, PNG, .*\); it begins with b'<html>40'"):
        look(path)


def test_a_format_that_would_start_another_program_is_refused():
    with pytest.raises(BadData, match="no picture of a format read here"):
        look(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


def test_missing_empty_and_irregular_files_are_told_apart(tmp_path):
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    for name, why in [
        ("empty.jpg", "0 bytes"),
        (".", "a folder"),
        ("no.jpg", "no such file"),
        ("pipe.jpg", "a device or pipe"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(BadData, match=f"list.csv:7: .*{why}"):
            read_bytes(str(tmp_path / name), "list.csv:7")
    with pytest.raises(BadData, match="row 2: 0 bytes"):
        read_bytes(b"", "row 2")


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(photo(), "jpeg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


@pytest.mark.parametrize("data", [jpeg_claiming(30_000, 30_000), png(8, 2, [b"\0" * 9], 30_000, 30_000)], ids=["jpeg", "png"])
def test_a_huge_picture_is_refused_on_its_header(data, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(UnsafeInput, match=r"row 9: its header claims 30,000 x 30,000 pixels, above the cap of 89,478,485; not decoded"):
        look(data, "row 9")


def test_the_cap_can_be_lowered_and_raised_past_pillows_own(monkeypatch):
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", str(64 * 48 - 1))
    with pytest.raises(UnsafeInput, match="64 x 48 pixels, above the cap of 3,071"):
        look(encoded(photo()))
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "1000000000")
    pillows = Image.MAX_IMAGE_PIXELS
    assert look(jpeg_claiming(30_000, 30_000)).size == (30_000, 30_000)
    assert pillows == Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "1e9")
    with pytest.raises(BadUsage, match="PELLUCID_MAX_PIXELS=1e9: expected a whole number"):
        look(encoded(photo()))


def test_a_picture_inside_a_bigger_file_is_read_from_its_place(tmp_path):
    first, second = encoded(photo()), encoded(photo(9, 5))
    path = tmp_path / "pack.bin"
    path.write_bytes(b"head" + first + second)
    assert look(Stored(str(path), 4, len(first))).size == (64, 48)
    assert look(Stored(str(path), 4 + len(first), len(second))).size == (9, 5)
    with pytest.raises(
        BadData, match=rf"pack\.bin at byte {4 + len(first)}: the file ends after {len(second)} of the {len(second) + 1} bytes"
    ):
        look(Stored(str(path), 4 + len(first), len(second) + 1))
