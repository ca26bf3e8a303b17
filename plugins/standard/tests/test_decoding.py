"""Pictures as pixels: what of a file is seen, what does no harm, and what is refused."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL
import pytest
from gancore_standard.datasets import ImageFolder
from gancore_standard.datasets.decoding import FORMATS, LONGEST, NAMED, UnreadableError, decode, decoded
from PIL import Image

from gancore import GancoreError

Pixels = npt.NDArray[Any]


def noise(*shape: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(content: bytes, size: int = 4, channels: int = 3, **options: Any) -> Pixels:
    return decode(content, size, channels, name="it", **options)


# -- what is seen ------------------------------------------------------------------------------------------------------


def unseen(mode: str) -> Image.Image:
    """Return a picture of 4x4 pixels whose left half is transparent noise, and whose right half is opaque."""
    pixels = noise(4, 4, 4)
    pixels[..., 3] = 0
    pixels[:, 2:] = (200, 200, 200, 255)
    return Image.fromarray(pixels, "RGBA").convert(mode)


TRANSPARENT: dict[str, Callable[[], bytes]] = {
    "RGBA": lambda: saved(unseen("RGBA"), "PNG"),
    "RGBA in TIFF": lambda: saved(unseen("RGBA"), "TIFF"),
    "RGBA in WebP": lambda: saved(unseen("RGBA"), "WEBP", lossless=True, exact=True),
    "LA": lambda: saved(unseen("LA"), "PNG"),
    "palette": lambda: _palette(),
    "gray with a transparent value": lambda: _gray(np.uint8, 7, 200),
    "16 bits with a transparent value": lambda: _gray(np.uint16, 7, 200 << 8),
    "GIF": lambda: _gif(),
}


def _palette() -> bytes:
    image = Image.fromarray(np.array([[0, 1, 2, 2]] * 4, dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 90, 80, 70, 200, 200, 200])
    return saved(image, "PNG", transparency=bytes([0, 0, 255]))


def _gray(dtype: Any, hidden: int, shown: int) -> bytes:
    return saved(Image.fromarray(np.array([[hidden, hidden, shown, shown]] * 4, dtype=dtype)), "PNG", transparency=hidden)


def _gif() -> bytes:
    image = Image.fromarray(np.array([[0, 0, 1, 1]] * 4, dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 200, 200])
    return saved(image, "GIF", transparency=0)


@pytest.mark.parametrize("kind", TRANSPARENT)
@pytest.mark.parametrize(("background", "value"), [("white", 255), ("black", 0), ("gray", 128)])
def test_what_is_transparent_shows_the_background(kind: str, background: Any, value: int) -> None:
    for channels in (1, 3):
        pixels = read(TRANSPARENT[kind](), channels=channels, background=background)
        assert (pixels[:, :, :2] == value).all()
        assert (pixels[:, :, 2:] == 200).all()


def test_what_is_half_transparent_shows_half_of_the_background() -> None:
    pixels = read(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"))
    assert (pixels == 127).all()


def test_the_background_is_a_setting_of_image_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set" / "all").mkdir(parents=True)
    (tmp_path / "set" / "all" / "0.png").write_bytes(saved(Image.new("RGBA", (4, 4), (1, 2, 3, 0)), "PNG"))
    seen = [
        ImageFolder(path=str(tmp_path / "set"), image_size=4, test_fraction=0, background=ground)
        .load("train")[0]
        .unique()
        .tolist()
        for ground in ("white", "black")
    ]
    assert seen == [[255], [0]]


# Pillow before 13 writes a TIFF of YCbCr that it can't read itself.
OLD = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="needs Pillow 13")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", pytest.param("YCbCr", marks=OLD)])
def test_opaque_pictures_of_every_mode_keep_their_range(mode: str) -> None:
    ramp = Image.fromarray(np.linspace(0, 255, 16).round().astype(np.uint8).repeat(16).reshape(16, 16))
    kind = {"CMYK": "TIFF", "YCbCr": "TIFF"}.get(mode, "PNG")
    pixels = read(saved(ramp.convert(mode), kind), 16, 1)
    assert pixels.min() <= 2
    assert pixels.max() >= 253
    assert len(np.unique(pixels)) >= (2 if mode == "1" else 16)


def test_the_inverted_cmyk_of_adobe_is_seen_upright() -> None:
    pixels = read(saved(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"))
    assert pixels.min() >= 250


def tiff16(photometric: int, bits: int, values: Pixels) -> bytes:
    """Return a TIFF of one strip of 16-bit gray (or of 12, packed), little-endian."""
    height, width = values.shape
    if bits == 16:
        strip = values.astype("<u2").tobytes()
    else:
        pairs = values.reshape(-1, 2)
        strip = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs.tolist())
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 200), (277, 1), (278, height)]
    tags.append((279, len(strip)))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0" + struct.pack("<I", 8) + directory + b"\0\0\0\0").ljust(200, b"\0") + strip


@pytest.mark.parametrize(
    ("photometric", "bits", "expected"),
    [(1, 16, [[0, 64], [128, 255]]), (0, 16, [[255, 191], [127, 0]]), (1, 12, [[0, 64], [128, 255]])],
)
def test_wide_gray_of_tiff_keeps_its_levels(photometric: int, bits: int, expected: list[list[int]]) -> None:
    values = np.array([[0, 0x4000], [0x8000, 0xFFFF]]) >> (16 - bits)
    assert read(tiff16(photometric, bits, values), 2, 1).tolist() == [expected]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_that_state_no_white_are_refused(dtype: Any) -> None:
    with pytest.raises(UnreadableError, match="state no white; store them with 8 or 16 bits"):
        read(saved(Image.fromarray(noise(4, 4).astype(dtype)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ((200, 10, 10), (10, 10, 200))]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    pixels = read(saved(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    assert pixels[:, 0, 0].tolist() == [200, 10, 10]


TURNED = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=np.uint8) * 20
UPRIGHT = {
    1: TURNED,
    2: np.fliplr(TURNED),
    3: np.rot90(TURNED, 2),
    4: np.flipud(TURNED),
    5: TURNED.T,
    6: np.rot90(TURNED, -1),
    7: np.rot90(TURNED, 2).T,
    8: np.rot90(TURNED, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_every_orientation_is_set_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    pixels = read(saved(Image.fromarray(TURNED), kind, exif=exif, **options), 3, 1)
    assert np.abs(pixels[0].astype(int) - UPRIGHT[orientation]).max() <= 1


def test_the_middle_of_a_very_long_picture_is_taken() -> None:
    pixels = np.zeros((2, 5000), dtype=np.uint8)
    pixels[:, 2400:2600] = 90
    assert LONGEST * 2 < 200
    assert (read(saved(Image.fromarray(pixels), "PNG"), 64, 1) == 90).all()
    assert (read(saved(Image.fromarray(pixels.T), "PNG"), 64, 1) == 90).all()


# -- what does no harm -------------------------------------------------------------------------------------------------


def png_with(name: bytes, body: bytes, *, sound: bool = True, exif: bytes = b"") -> bytes:
    """Return a PNG of noise with one more chunk, whose checksum is right or not."""
    content = saved(Image.fromarray(noise(4, 4, 3)), "PNG", exif=exif)
    check = zlib.crc32(name + body) ^ (0 if sound else 1)
    at = content.index(b"IDAT") - 4
    return content[:at] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", check) + content[at:]


BOMB = zlib.compress(bytes(80 << 20))


@pytest.mark.parametrize(
    "content",
    [
        png_with(b"eXIf", b"\0\x08\0\x02\x01\x12\0\x03"),
        png_with(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff"),
        png_with(b"eXIf", b""),
        png_with(b"eXIf", b"MM\0*\0\0\0\x08\0\0", sound=False),
        png_with(b"iCCP", b"profile\0\0not compressed"),
        png_with(b"iCCP", b"profile\0\0" + BOMB),
        png_with(b"iCCP", b"profile\0\7abc"),
        png_with(b"iCCP", b"profile"),
        png_with(b"tEXt", b"key\0value", sound=False),
        png_with(b"zTXt", b"key\0\0" + BOMB),
        png_with(b"zTXt", b"key\0\7" + BOMB),
        png_with(b"iTXt", b"key\0\1\0en\0key\0" + BOMB),
        png_with(b"tIME", b"x", sound=False),
        png_with(b"pHYs", b"x"),
        png_with(b"gAMA", b"x"),
        png_with(b"sRGB", b""),
        png_with(b"cHRM", b"x"),
        png_with(b"acTL", b"x"),
        png_with(b"acTL", struct.pack(">II", 1 << 31, 0)),
        png_with(b"fcTL", b"x"),
    ],
)
def test_damage_beside_the_pixels_of_a_png_does_no_harm(content: bytes) -> None:
    assert np.array_equal(read(content), noise(4, 4, 3).transpose(2, 0, 1))


def jpeg_with(marker: int, body: bytes) -> tuple[bytes, Pixels]:
    """Return a JPEG with one more segment, and the pixels that it has without."""
    content = saved(Image.fromarray(noise(8, 8, 3)), "JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
    return content[:2] + segment + content[2:], read(content)


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE1, b"Exif\0\0"),
        (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
        (0xE1, b"Exif\0\0\0\x08\0\x02\x01\x12\0\x03"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<broken"),
        (0xE2, b"ICC_PROFILE\0\x09\x01rubbish"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0\x01\xb0\x04\0\x01\0\0\0\x02\0\0\0\0\0\0\0"),
        (0xE2, b"MPF\0rubbish"),
        (0xE2, b"FPXR\0"),
        (0xED, b"Photoshop 3.0\x008BIM\x04"),
        (0xFE, b"\xff\xfe\xfd"),
        (0xFE, b""),
    ],
)
def test_damage_beside_the_pixels_of_a_jpeg_does_no_harm(marker: int, body: bytes) -> None:
    content, pixels = jpeg_with(marker, body)
    assert np.array_equal(read(content), pixels)


def test_a_sound_orientation_is_obeyed_beside_damage() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    content = png_with(b"iCCP", b"profile\0\0" + BOMB, exif=exif.tobytes())
    assert np.array_equal(read(content), noise(4, 4, 3)[::-1, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("tag", [0x8769, 0x8825])
def test_a_tiff_with_a_damaged_directory_of_exif_is_read(tag: int) -> None:
    content = bytearray(saved(Image.fromarray(noise(4, 4, 3)), "TIFF", exif=b"", software="x" * 9))
    at = content.index(struct.pack("<HHI", 305, 2, 10))
    content[at : at + 12] = struct.pack("<HHII", tag, 4, 1, 0x7FFFFFF0)
    assert np.array_equal(read(bytes(content)), noise(4, 4, 3).transpose(2, 0, 1))


# -- what is refused ---------------------------------------------------------------------------------------------------

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def test_postscript_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\necho started >> '{tmp_path / 'started'}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(UnreadableError, match="no picture of BMP, GIF, JPEG"):
        read(POSTSCRIPT)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PCX", "SGI", "ICNS", "JPEG2000", "PDF"])
def test_formats_that_are_not_meant_are_not_opened(kind: str) -> None:
    assert kind not in FORMATS
    with pytest.raises(UnreadableError, match="no picture of"):
        read(saved(Image.fromarray(noise(16, 16, 3)), kind))


def header_only(width: int, height: int) -> bytes:
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = zlib.compress(bytes(100))
    chunks = [(b"IHDR", body), (b"IDAT", idat), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


@pytest.mark.parametrize(
    "content",
    [
        header_only(60_000, 60_000),
        header_only(2**31 - 1, 2**31 - 1),
        saved(Image.fromarray(noise(40, 40, 3)), "PNG")[:900],
        saved(Image.fromarray(noise(40, 40, 3)), "JPEG")[:500],
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"P6 99999999 99999999 255\n",
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00",
    ],
)
def test_bombs_and_damaged_pixels_are_refused_in_a_sentence(content: bytes) -> None:
    with pytest.raises(UnreadableError, match=r"^The image it can't be read \(.+\); remove or replace the file\.$") as raised:
        read(content)
    assert len(str(raised.value)) <= 400


def test_a_pipe_a_device_and_a_huge_file_are_refused_unread(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(1 << 40)
    for name, problem in {"pipe": "no ordinary file", "device": "no ordinary file", "huge": "1024.0 GiB, more than"}.items():
        with pytest.raises(UnreadableError, match=problem):
            decode(tmp_path / f"{name}.png", 4, 3, name=name)


def test_pictures_that_cannot_be_read_are_named_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set" / "all"
    folder.mkdir(parents=True)
    for i in range(9):
        (folder / f"{i}.png").write_bytes(saved(Image.fromarray(noise(4, 4, 3)), "PNG") if i % 2 else b"no picture")
    (folder / "link.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(
        GancoreError, match=r"^6 images can't be read: .*all/0\.png \(.*all/6\.png and 2 more; remove"
    ) as raised:
        ImageFolder(path=str(tmp_path / "set"), image_size=4, test_fraction=0).load("train")
    assert len(str(raised.value)) <= 400
    assert not list((tmp_path / "cache" / "images").iterdir())


def test_the_sentence_about_many_pictures_is_short() -> None:
    def fail(number: int) -> Pixels:
        raise UnreadableError(f"{'x' * 4000}/{number}.png", "y" * 4000)

    with pytest.raises(GancoreError, match=r"^600 images") as raised:
        list(decoded(iter(range(600)), fail))
    assert len(str(raised.value)) <= 400
    assert str(raised.value).count(".png") == NAMED
    with pytest.raises(GancoreError) as raised:
        list(decoded(iter(range(1)), fail))
    assert len(str(raised.value)) <= 400
