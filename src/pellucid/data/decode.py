"""Bytes to pictures: header checked first, then 8-bit RGB turned upright, whatever was stored."""

import contextlib
import functools
import io
import math
import os
import stat
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFile, UnidentifiedImageError

from pellucid.data.stored import Stored
from pellucid.errors import BadData, BadUsage, UnsafeInput

Source = str | os.PathLike[str] | bytes | Stored

MAX_PIXELS = 89_478_485  # where Pillow begins to warn: a quarter of a gigabyte at three bytes
# only formats that decode in process: Pillow's EPS reader, say, starts another program
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError, struct.error, zlib.error)
_ORIENTATION = 0x0112
_REMEDY = "fetch it again, or leave broken pictures out"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Held:
    """A setting of a module at our value while any thread is inside; as found after the last has left."""

    def __init__(self, module: Any, name: str, value: Any):
        self.module, self.name, self.value = module, name, value
        self.lock, self.inside, self.before = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.before = getattr(self.module, self.name)
                setattr(self.module, self.name, self.value)
            self.inside += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                setattr(self.module, self.name, self.before)


_OUR_CAP = _Held(Image, "MAX_IMAGE_PIXELS", None)  # Pillow's cap gives way to `max_pixels`, which is checked at once
_WHOLE = _Held(ImageFile, "LOAD_TRUNCATED_IMAGES", False)  # half a picture is an error, also where another library asked for grey instead


def max_pixels() -> int:
    """The most pixels a picture may claim to have: `$PELLUCID_MAX_PIXELS`, else 89 million.

    Raises:
        BadUsage: the variable is set to something else than a whole number above 0.
    """
    given = os.environ.get("PELLUCID_MAX_PIXELS", "")
    if not given:
        return MAX_PIXELS
    if not given.isdecimal() or int(given) < 1:
        raise BadUsage(f"PELLUCID_MAX_PIXELS={given}: expected a whole number of pixels above 0, as {MAX_PIXELS}")
    return int(given)


# ---- bytes --------------------------------------------------------------------------------------------------------


def place_of(source: Source, where: str = "") -> str:
    """What messages call a picture: the row or name it was met under, then its file."""
    if isinstance(source, bytes):
        return where or "picture"
    path = f"{source.path} at byte {source.offset}" if isinstance(source, Stored) else os.fspath(source)
    return path if where in ("", path) else f"{where}: {path}"


def read_bytes(source: Source, where: str = "") -> bytes:
    """The encoded bytes of a picture.

    Raises:
        BadData: there is no such regular file, it cannot be read, it ends too early, or it holds nothing.
    """
    place = place_of(source, where)
    if isinstance(source, bytes):
        data = source
    else:
        with opened(source, where) as file:
            if isinstance(source, Stored):
                file.seek(source.offset)
            data = file.read(source.size if isinstance(source, Stored) else -1)
    if not data:
        raise BadData(f"{place}: 0 bytes, so no picture; {_REMEDY}")
    if isinstance(source, Stored) and len(data) < source.size:
        raise BadData(f"{place}: the file ends after {len(data)} of the {source.size} bytes of this picture; {_REMEDY}")
    return data


@contextlib.contextmanager
def opened(source: str | os.PathLike[str] | Stored, where: str = "") -> Iterator[Any]:
    """The open file that a picture lies in; only a regular one, since a pipe or a device might never end."""
    path = source.path if isinstance(source, Stored) else source
    place = place_of(source, where)
    with contextlib.ExitStack() as closing:
        try:
            kind = os.stat(path).st_mode
            if stat.S_ISREG(kind):
                file = closing.enter_context(open(path, "rb"))
        except FileNotFoundError:
            raise BadData(f"{place}: no such file; put it there, or give the path as seen from the current folder") from None
        except (OSError, ValueError) as error:
            raise BadData(f"{place}: cannot be read ({error}); {_REMEDY}") from None
        if not stat.S_ISREG(kind):
            raise BadData(f"{place}: a {'folder' if stat.S_ISDIR(kind) else 'device or pipe'}, where a picture's file is expected")
        yield file


# ---- header -------------------------------------------------------------------------------------------------------


class Picture:
    """A picture whose header is sound and small enough; its pixels are decoded by `image` or `array`."""

    def __init__(self, data: bytes, place: str):
        self.data, self.place = data, place
        self._header: Image.Image | None = header(io.BytesIO(data), place)
        self.is_jpeg = self._header.format in ("JPEG", "MPO")
        self.mode = self._header.mode
        self._stored_size, self._told_turn = self._header.size, 0

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture; of another format than JPEG this may decode it."""
        turn = self._turn
        width, height = self._stored_size
        return (height, width) if turn >= 5 else (width, height)

    @property
    def _turn(self) -> int:
        """EXIF's orientation of the stored pixels; 1 of a TIFF, which Pillow turns itself."""
        if not self._told_turn:
            image = self._header or header(io.BytesIO(self.data), self.place)
            if not self.is_jpeg:  # may tell its turn after the pixels; and a fault in these must not pass for one in EXIF
                self._load(image)
                self._stored_size = image.size
            self._told_turn = _turn(image)
        return self._told_turn

    def _load(self, image: Image.Image) -> None:
        with _told(self.place, image.format), _WHOLE:
            image.load()

    def image(self, shortest: int | None = None) -> Image.Image:
        """The upright RGB picture.

        Args:
            shortest: a JPEG may come out at a half, a quarter or an eighth of its size as long as its short side is no shorter.
        """
        turn, scale = self._turn, self.scale(shortest)
        image = self._header or header(io.BytesIO(self.data), self.place)
        self._header = None
        if scale > 1:
            image.draft(None, (self._stored_size[0] // scale, self._stored_size[1] // scale))
        self._load(image)
        with _told(self.place, image.format):
            rgb = _rgb(image, self.place)
        return rgb.transpose(_TURNS[turn]) if turn in _TURNS else rgb

    def array(self, shortest: int | None = None) -> np.ndarray:
        """The same as uint8 `h w 3`, to the bit; JPEGs through simplejpeg where it is installed, which is faster."""
        fast = _simplejpeg() if self.is_jpeg and self.mode in ("RGB", "L") else None
        if fast is None:
            return np.array(self.image(shortest))
        scale = self.scale(shortest)
        width, height = (-(-side // scale) for side in self._stored_size)
        least = {"min_width": width, "min_height": height} if scale > 1 else {}
        try:
            pixels = fast.decode_jpeg(self.data, "RGB", **least)
        except ValueError:
            return np.array(self.image(shortest))  # damaged: Pillow is the judge, so that the verdict is the same without simplejpeg
        return _turned(pixels, self._turn)

    def scale(self, shortest: int | None) -> int:
        """The largest of 8, 4, 2 by which a JPEG may be decoded smaller, 1 for none; sides are then rounded up."""
        if shortest is None or not self.is_jpeg:
            return 1
        least = max(shortest, 8)  # below a block's side the two decoders choose differently
        return next((scale for scale in (8, 4, 2) if min(self._stored_size) >= scale * least), 1)


def look(source: Source, where: str = "") -> Picture:
    """A picture with its header checked and nothing decoded yet.

    Raises:
        BadData: no picture, or of no format that is read here.
        UnsafeInput: its header claims more pixels than `max_pixels`.
    """
    return Picture(read_bytes(source, where), place_of(source, where))


def header(file: Any, place: str) -> Image.Image:
    """Pillow's picture, opened and not decoded."""
    cap = max_pixels()
    start = file.read(8)
    file.seek(0)
    if not start:
        raise BadData(f"{place}: 0 bytes, so no picture; {_REMEDY}")
    try:
        with _OUR_CAP:
            image = Image.open(file, formats=_formats())
    except UnidentifiedImageError:
        known = ", ".join(_formats())
        raise BadData(f"{place}: no picture of a format read here ({known}); it begins with {start!r}; {_REMEDY}") from None
    except _BROKEN as error:
        raise BadData(f"{place}: a picture with a broken header ({error}); {_REMEDY}") from None
    if math.prod(image.size) > cap:
        claim = f"{image.width:,} x {image.height:,} pixels, above the cap of {cap:,}"
        raise UnsafeInput(f"{place}: its header claims {claim}; not decoded. If you trust it, raise PELLUCID_MAX_PIXELS")
    return image


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextlib.contextmanager
def _told(place: str, kind: str | None) -> Iterator[None]:
    """What decoders raise on damaged pixels, as one line."""
    try:
        yield
    except (BadData, UnsafeInput):
        raise
    except Image.DecompressionBombError as error:
        raise UnsafeInput(f"{place}: {error}") from None
    except _BROKEN as error:
        raise BadData(f"{place}: a broken {kind} picture ({error}); {_REMEDY}") from None


@functools.cache
def _simplejpeg() -> Any:
    """The faster JPEG decoder, or None where it is not installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


# ---- pixels -------------------------------------------------------------------------------------------------------


def _turn(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; a picture whose EXIF block cannot be read is taken as upright, as every viewer does."""
    if image.format in ("JPEG", "MPO") and not {"exif", "xmp", "XML:com.adobe.xmp"} & set(image.info):
        return 1
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return turn if turn in _TURNS else 1


def _turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """Stored pixels `h w 3` made upright."""
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    down = -1 if turn in (3, 4, 7, 8) else 1
    across = -1 if turn in (2, 3, 6, 7) else 1
    return pixels if turn == 1 else np.ascontiguousarray(pixels[::down, ::across])


def _rgb(image: Image.Image, place: str) -> Image.Image:
    """8-bit RGB of whatever was stored: alpha lies on white, 16 bits keep their high byte, CMYK mixes as ink."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return _from_16_bit(image)
    if image.mode in ("I", "F"):
        raise BadData(f"{place}: a picture of 32-bit numbers, whose black and white are not told; save it with 8 or 16 bits a channel")
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        # Differs: Pillow takes every CMYK JPEG for Adobe's, where 255 is no ink; ITU-T T.872 says 0 is, unless Adobe's marker is there
        image = ImageChops.invert(image)
    if "transparency" in image.info or image.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """The high byte, as Pillow gives of 16-bit RGB; its own conversion of 16-bit grey has clipped in some versions."""
    values = np.asarray(image).astype(np.int64)
    grey = (values >> 8).clip(0, 255)
    if isinstance(see_through := image.info.get("transparency"), int):
        grey[values == see_through] = 255  # on white, as all alpha
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
