"""simplejpeg, where it is installed, decodes what Pillow decodes, to the last bit, and leaves to it what it can't."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from gancore_standard.datasets import decoding, jpeg
from PIL import Image

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "4:4:4": ("RGB", {"subsampling": 0}),
    "4:2:2": ("RGB", {"subsampling": 1}),
    "4:2:0": ("RGB", {"subsampling": 2}),
    "progressive": ("RGB", {"progressive": True}),
    "restart markers": ("RGB", {"restart_marker_blocks": 2}),
    "red, green and blue": ("RGB", {"keep_rgb": True}),
    "gray": ("L", {}),
    "gray, progressive": ("L", {"progressive": True}),
}


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    jpeg._decoder.cache_clear()
    yield
    jpeg._decoder.cache_clear()


@pytest.fixture
def simplejpeg() -> Any:
    return pytest.importorskip("simplejpeg", reason='these compare it with Pillow: pip install "gancore-plugin-standard[jpeg]"')


def picture(mode: str, size: tuple[int, int] = (47, 33), **options: Any) -> bytes:
    noise = np.random.default_rng(sum(size)).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode).save(written, "JPEG", **options)
    return written.getvalue()


def seen(content: bytes, image_size: int, channels: int) -> Any:
    try:
        return decoding.decode(content, image_size, channels, name="it").tolist()
    except decoding.UnreadableError as error:
        return str(error)


def by_pillow(content: bytes, image_size: int, channels: int) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "jpeg_pixels", lambda _: None)
        return seen(content, image_size, channels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_its_pixels_are_those_of_pillow(simplejpeg: Any, way: str, channels: int) -> None:
    mode, options = WAYS[way]
    for size, image_size in (((47, 33), 16), ((32, 32), 32), ((1, 1), 1), ((3, 70), 8), ((64, 17), 17)):
        for quality in (30, 75, 98):
            content = picture(mode, size, quality=quality, **options)
            assert jpeg.jpeg_pixels(content) is not None
            assert seen(content, image_size, channels) == by_pillow(content, image_size, channels)


def test_four_colors_and_turned_pictures_are_left_to_pillow(simplejpeg: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture("RGB", exif=exif)
    assert jpeg.jpeg_pixels(picture("CMYK")) is None
    assert jpeg.jpeg_pixels(turned) is None
    assert seen(turned, 16, 3) != seen(picture("RGB"), 16, 3)


def test_damaged_files_end_as_with_pillow(simplejpeg: Any) -> None:
    rng, decoded = Random(0), 0
    for number in range(200):
        mode, options = WAYS[rng.choice(list(WAYS))]
        content = bytearray(picture(mode, (20 + number % 7, 23), **options))
        if number % 2:
            content = content[: rng.randrange(2, len(content))]
        for _ in range(rng.randrange(3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        decoded += jpeg.jpeg_pixels(bytes(content)) is not None
        assert seen(bytes(content), 16, 3) == by_pillow(bytes(content), 16, 3)
    assert decoded


def other(decode: Any) -> types.ModuleType:
    """A stand-in for the library, which reads by Pillow and then does something to the pixels."""
    module = types.ModuleType("simplejpeg")

    def header(content: bytes) -> tuple[int, int, str, str]:
        with Image.open(io.BytesIO(content)) as image:
            return image.height, image.width, {"L": "Gray", "RGB": "YCbCr", "CMYK": "CMYK"}[image.mode], "420"

    def pixels(content: bytes, *, colorspace: str) -> Any:
        with Image.open(io.BytesIO(content)) as image:
            values = np.array(image)
        assert colorspace == ("RGB" if values.ndim == 3 else "GRAY")
        return decode(values.reshape(*values.shape[:2], -1))

    module.decode_jpeg_header, module.decode_jpeg = header, pixels  # type: ignore[attr-defined]
    return module


def test_it_is_used_where_it_agrees_with_pillow_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    content = picture("RGB", (16, 16))
    expected = by_pillow(content, 16, 3)
    monkeypatch.setitem(sys.modules, "simplejpeg", other(lambda pixels: pixels))
    assert jpeg.jpeg_pixels(content) is not None
    assert seen(content, 16, 3) == expected
    assert jpeg.jpeg_pixels(picture("CMYK")) is None
    jpeg._decoder.cache_clear()
    monkeypatch.setitem(sys.modules, "simplejpeg", other(lambda pixels: pixels ^ 1))
    assert jpeg.jpeg_pixels(content) is None
    assert seen(content, 16, 3) == expected


def test_without_it_pillow_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    assert jpeg.jpeg_pixels(picture("RGB")) is None
