"""Pictures as pixels: which formats are opened, and what is seen of a picture."""

from __future__ import annotations

import contextlib
import io
import warnings
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from gancore import GancoreError
from gancore.tools import first_line, listed
from gancore_standard.datasets.folders import check_ordinary
from gancore_standard.datasets.jpeg import jpeg_pixels

FORMAT = 3
"""Raised whenever the pixels of the same file would come out differently, so that what was made of the former is made anew."""

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened, whatever a file's name says; Pillow would hand PostScript to Ghostscript, a program that runs it."""

MOST_BYTES = 1 << 30
"""Files beyond this size are not read."""

LONGEST = 8
"""Of a picture more than so many times as long as wide the middle is taken before it is resized."""

CHUNK = 256
"""Pictures decoded at once; more would only take memory."""

NAMED = 4
"""Pictures that can't be read are named up to this number."""

Pixels = npt.NDArray[np.uint8]
Item = TypeVar("Item")
Background = Literal["white", "gray", "black"]

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"

_ORIENTATION = 0x0112
_BITS, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What sets a picture upright, by EXIF's orientation."""


class UnreadableError(GancoreError):
    """A picture that can't be read."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The image {_tail(name, 200)} can't be read ({reason[:100]}); remove or replace the file.")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableError], tuple[str, str]]:
        """Return how it is made again in another process."""
        return type(self), (self.name, self.reason)


def decode(
    source: Path | str | bytes, image_size: int, channels: int, *, name: str, background: Background = "white"
) -> Pixels:
    """Return a picture as (channels, image_size, image_size) uint8.

    The shorter side is resized to `image_size` (bilinear, antialiased) and the center cut out, as torchvision's ``Resize``
    and ``CenterCrop`` do. A camera's orientation tag is obeyed, 16 bits are scaled to 8, what is transparent is laid over
    `background`, and of an animation the first picture is taken. Damage to anything but pixels (EXIF, color profiles,
    comments) does no harm.

    Args:
        source: File, or the file's content.
        image_size: Pixels a side.
        channels: 3 for color, 1 for gray.
        name: Names the picture in the error.
        background: What is seen through it.

    Raises:
        UnreadableError: It can't be read as a picture, or its pixels have no range that is known (32 bits, or signed).
    """
    with _reading(name):
        content = source if isinstance(source, bytes) else _content(source)
        pixels = jpeg_pixels(content)
        if pixels is None:
            return shaped(_read(content, background), image_size, channels)
        if pixels.shape == (image_size, image_size, channels):
            return pixels.transpose(2, 0, 1)
        return shaped(Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels), image_size, channels)


def pixels_of(source: Path, *, name: str) -> Pixels:
    """Return a picture at its own size, (3, H, W) uint8 or, where it is gray, (1, H, W); read as `decode` does, over white.

    Raises:
        UnreadableError: As `decode` does.
    """
    with _reading(name):
        image = _read(_content(source), "white")
        gray = image.mode in ("1", "L", "LA")
        pixels = np.array(image.convert("L" if gray else "RGB"))
        return pixels[None] if gray else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Say of a picture that can't be read which it is, and why."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large or odd files that it reads all the same.
            warnings.simplefilter("ignore")
            yield
    except GancoreError as error:
        raise UnreadableError(name, str(error)) from error
    except UnidentifiedImageError as error:
        raise UnreadableError(name, f"it is no picture of {listed(FORMATS)}") from error
    except OSError as error:
        raise UnreadableError(name, error.strerror or f"{type(error).__name__}: {first_line(error)}") from error
    except Exception as error:
        # Decoders of damaged files raise whatever they stumble over.
        raise UnreadableError(name, f"{type(error).__name__}: {first_line(error)}") from error


def content_of_file(path: Path | str, *, name: str) -> bytes:
    """Return what an ordinary file holds.

    Args:
        path: The file.
        name: Names the picture in the error.

    Raises:
        UnreadableError: It can't be read, or is larger than any picture.
    """
    try:
        return _content(path)
    except (GancoreError, OSError) as error:
        raise UnreadableError(name, getattr(error, "strerror", None) or str(error)) from error


def decoded(items: Iterator[Item], decoder: Callable[[Item], Pixels]) -> Iterator[Pixels]:
    """Yield the pictures of `items` in order, decoded on all cores.

    Raises:
        GancoreError: Pictures can't be read; all are tried first, so that they are named together.
    """

    def tried(item: Item) -> Pixels | UnreadableError:
        try:
            return decoder(item)
        except UnreadableError as error:
            return error

    problems: list[UnreadableError] = []
    with ThreadPoolExecutor() as pool:
        while piece := list(islice(items, CHUNK)):
            for result in pool.map(tried, piece):
                if isinstance(result, UnreadableError):
                    problems.append(result)
                elif not problems:
                    yield result
    if problems:
        raise unreadable(problems)


def unreadable(errors: list[UnreadableError]) -> GancoreError:
    """Return the error of one picture or more that can't be read, in one sentence."""
    if len(errors) == 1:
        return errors[0]
    names = [_tail(error.name, 60) for error in errors[:NAMED]]
    names[0] += f" ({errors[0].reason[:60]})"
    more = f" and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    return GancoreError(f"{len(errors)} images can't be read: {', '.join(names)}{more}; remove or replace the files.")


def _tail(text: str, length: int) -> str:
    return text if len(text) <= length else f"...{text[3 - length :]}"


def _content(path: Path | str) -> bytes:
    check_ordinary(path, MOST_BYTES)
    with io.FileIO(path) as file:  # without the buffer that `Path.read_bytes` sets up first
        return file.readall()


def _read(content: bytes, background: Background) -> Image.Image:
    """Return a picture upright, with 8 bits a channel and without transparency."""
    problems = []
    for attempt in _attempts(content):
        try:
            with Image.open(io.BytesIO(attempt), formats=FORMATS) as image:
                image.load()
                turn = _turn(image)
                plain = _on_background(_narrowed(image), background)
                return plain if turn is None else plain.transpose(turn)
        except Exception as error:
            problems.append(error)
    raise problems[0]


def _attempts(content: bytes) -> Iterator[bytes]:
    """Yield a file's content, and then what of it is about pixels, with and without EXIF's word on which side is up."""
    yield content
    stripped = _png_pixels if content.startswith(_PNG) else _jpeg_pixels if content.startswith(_JPEG) else None
    if stripped is not None:
        yield stripped(content, exif=True)
        yield stripped(content, exif=False)


def _png_pixels(content: bytes, *, exif: bool) -> bytes:
    """Return a PNG without the chunks that a reader of pixels may skip (PNG specification, section 5.4)."""
    left, at = [_PNG], len(_PNG)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        name = content[at + 4 : at + 8]
        sound = zlib.crc32(content[at + 4 : end - 4]).to_bytes(4, "big") == content[end - 4 : end]
        if not name[0] & 0x20 or name == b"tRNS" or (exif and name == b"eXIf" and sound):
            left.append(content[at:end])
        at = end
    return b"".join(left)


def _jpeg_pixels(content: bytes, *, exif: bool) -> bytes:
    """Return a JPEG without comments and applications' segments but those that say how its colors are stored."""
    left, at = [_JPEG], len(_JPEG)
    while len(content) > at + 3 and content[at] == 0xFF and content[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        marker = content[at + 1]
        of_exif = exif and marker == 0xE1 and content[at + 4 :].startswith(b"Exif\0\0")
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE or of_exif:
            left.append(content[at:end])
        at = end
    return b"".join([*left, content[at:]])


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        # A damaged block says nothing of which side is up, and its pixels are sound.
        return None


def _narrowed(image: Image.Image) -> Image.Image:
    """Return a picture with 8 bits a channel; Pillow would clip wider ones at 255 instead of scaling them."""
    # Netpbm's pixels of 16 bits come in a mode of 32, scaled by the maximum that their file states.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        tags: Any = getattr(image, "tag_v2", {})
        values = np.asarray(image).astype(np.int64)
        # Of 12 bits in TIFF Pillow gives the values as they are.
        gray = values >> (tags.get(_BITS, (16,))[0] - 8)
        gray = 255 - gray if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else gray
        narrow = Image.fromarray(gray.clip(0, 255).astype(np.uint8))
        if "transparency" in image.info:
            opaque = (values != image.info["transparency"]).astype(np.uint8) * 255
            return Image.merge("LA", (narrow, Image.fromarray(opaque)))
        return narrow
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits and state no white; store them with 8 or 16 bits")
    return image


def _on_background(image: Image.Image, background: Background) -> Image.Image:
    if "transparency" not in image.info and "A" not in image.getbands() and "a" not in image.getbands():
        return image
    if image.mode == "La":
        image = image.convert("LA")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, background), seen).convert("RGB")


def shaped(image: Image.Image, image_size: int, channels: int) -> Pixels:
    """Return the middle square of a picture as (channels, image_size, image_size) uint8, possibly a view of other strides."""
    # What changes nothing is left out, for Pillow would copy the picture each time.
    mode = "RGB" if channels == 3 else "L"
    image = image if image.mode == mode else image.convert(mode)
    width, height = image.size
    short = min(width, height)
    if max(width, height) > LONGEST * short:
        width, height = min(width, LONGEST * short), min(height, LONGEST * short)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    width, height = int(image_size * width / short), int(image_size * height / short)
    image = image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - image_size) / 2), round((height - image_size) / 2)
    square = (left, top, left + image_size, top + image_size)
    pixels = np.asarray(image if square == (0, 0, width, height) else image.crop(square))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
