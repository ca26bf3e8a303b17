"""JPEG decoded by simplejpeg, where that is installed: the pixels that Pillow gives, in half the time."""

from __future__ import annotations

import functools
import io
from types import ModuleType

import numpy as np
import numpy.typing as npt
from PIL import Image

_START, _APP1, _SCAN = b"\xff\xd8\xff", b"\xe1", b"\xda"

_COLORS = {"Gray": "GRAY", "YCbCr": "RGB", "RGB": "RGB"}
"""How a file stores its colors -> as what they are decoded; what is not among them (CMYK) is left to Pillow."""

_LARGEST = 1 << 26
"""Pixels up to which a picture is decoded here; of larger ones Pillow says whether they are a trap."""


def jpeg_pixels(content: bytes) -> npt.NDArray[np.uint8] | None:
    """Return the pixels (H, W, 3) or, of a gray picture, (H, W, 1) of a sound JPEG, or None where Pillow should decode it.

    That is without simplejpeg, and of all that Pillow reads with more care: what is no JPEG, is damaged, or stores four colors,
    and what has a segment that may say which side is up.
    """
    decoder = _decoder()
    if decoder is None or not content.startswith(_START) or _may_be_turned(content):
        return None
    return _decoded(decoder, content)


def _may_be_turned(content: bytes) -> bool:
    """Return whether a segment before the pixels is of the kind that EXIF and XMP have, or is not where it should be."""
    at = 2
    while content[at : at + 1] == b"\xff" and content[at + 1 : at + 2] not in (_APP1, _SCAN):
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return content[at : at + 2] != b"\xff" + _SCAN


def _decoded(decoder: ModuleType, content: bytes) -> npt.NDArray[np.uint8] | None:
    try:
        height, width, stored, _ = decoder.decode_jpeg_header(content)
        if stored not in _COLORS or height * width > _LARGEST:
            return None
        pixels: npt.NDArray[np.uint8] = decoder.decode_jpeg(content, colorspace=_COLORS[stored])
    except ValueError:  # what is damaged Pillow names, or reads all the same
        return None
    return pixels


@functools.cache
def _decoder() -> ModuleType | None:
    """Return simplejpeg, where it is installed and agrees with this machine's Pillow, which may have another libjpeg."""
    try:
        import simplejpeg
    except Exception:  # one that does not suit the machine fails in any way
        return None
    module: ModuleType = simplejpeg
    return module if all(_agrees(module, mode, options) for mode in ("RGB", "L") for options in _WAYS) else None


_WAYS = ({"quality": 60}, {"quality": 95, "subsampling": 0}, {"quality": 80, "subsampling": 1, "progressive": True})


def _agrees(decoder: ModuleType, mode: str, options: dict[str, int]) -> bool:
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(noise).resize((53, 37), Image.Resampling.BICUBIC).convert(mode).save(written, "JPEG", **options)
    pixels = _decoded(decoder, written.getvalue())
    with Image.open(written) as image:
        return pixels is not None and np.array_equal(pixels.reshape(37, 53, -1), np.asarray(image).reshape(37, 53, -1))
