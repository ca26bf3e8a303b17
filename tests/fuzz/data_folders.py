"""Folders of pictures: damaged, misplaced, of other formats, or files that are no pictures; and damaged files of a set."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.damage import damage
from tests.fuzz.inputs import TEXTS, TINY, Input, write

MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F"]
FORMATS = {"png": "PNG", "tiff": "TIFF", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "jpg": "JPEG", "ppm": "PPM"}
FOREIGN = [
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(started) (w) file\nshowpage\n",
    b"%PDF-1.4\n",
    b"<svg xmlns='http://www.w3.org/2000/svg' width='99999999' height='99999999'/>",
    b"P6 99999999 99999999 255\n",
    b"P5 0 0 255\n",
    b"P1 # " + b"9" * 5000,
    b"GIF89a\xff\xff\xff\xff\0\0\0",
    b"BM" + b"\xff" * 60,
    b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    b"II*\0\x08\0\0\0" + b"\xff" * 200,
    b"MM\0*\0\0\0\x08\0\x01\x01\x00\0\x03\0\0\0\x01\xff\xff\0\0\0\0\0\x08",
    b"\xff\xd8\xff\xe1\xff\xffExif",
]
CHUNKS = [b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"acTL", b"tRNS", b"PLTE", b"xXXx"]
NAMES = ["\x1b[2J.png", "x" * 250 + ".png", ".png", "a\nb.png", "caf\udce9.png", "-.png", "a b'.png", "%s.png"]


def make(rng: Random, folder: Path) -> Input:
    """Return a training on pictures of which some are none, or lie where they were not meant to."""
    images = folder / "images"
    for name in ("cats", "dogs"):
        for i in range(12):
            _save(rng, images / name / f"{i:02d}.png", "RGB")
    way = rng.choice([_damaged, _damaged, _chunk, _foreign, _mode, _layout, _links, _named, _settings, _set])
    about, data = way(rng, images)
    plain = {"use": "standard/image-folder", "path": "images", "image_size": 8}
    write(folder / "tiny.toml", {**TINY, "data": {**plain, **data} if "use" not in data else data})
    words = ["train", "./tiny.toml", "--out", "out", "--device", "cpu", "--set", "run.iterations=1"]
    return Input(words, about)


def _save(rng: Random, path: Path, mode: str, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.frombuffer(rng.randbytes(9 * 8 * 4), np.uint8).reshape(9, 8, 4)
    wide: dict[str, Any] = {"I": np.int32, "F": np.float32, "I;16": np.uint16}
    image = Image.fromarray(pixels[..., 0].astype(wide[mode])) if mode in wide else Image.fromarray(pixels).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    path.write_bytes(buffer.getvalue())


def _one(rng: Random, images: Path) -> Path:
    return rng.choice(sorted(path for path in images.rglob("*.png") if path.is_file()))


def _damaged(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    ways = [damage(rng, _one(rng, images)) for _ in range(rng.choice([1, 1, 2, 9]))]
    return f"pictures are {', '.join(ways)}", {}


def _chunk(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    """Add a chunk to a PNG, with what it may hold or with anything, and with a sum that is right or not."""
    path = _one(rng, images)
    content, name = (
        path.read_bytes(),
        rng.choice([b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"acTL", b"tRNS", b"PLTE", b"xXXx"]),
    )
    body = rng.choice([rng.randbytes(rng.randrange(60)), b"key\0\0" + zlib.compress(bytes(rng.choice([9, 2 << 20])))])
    check = zlib.crc32(name + body) ^ rng.choice([0, 0, 1])
    at = content.index(b"IDAT") - 4
    path.write_bytes(content[:at] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", check) + content[at:])
    return f"a picture has a chunk {name!r} of {len(body)} bytes", {}


def _foreign(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    content = rng.choice(FOREIGN)
    (images / "cats" / f"foreign.{rng.choice(list(FORMATS))}").write_bytes(content)
    return f"a picture begins with {content[:20]!r}", {}


def _mode(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    suffix, mode = rng.choice(list(FORMATS)), rng.choice(MODES)
    try:
        _save(rng, images / "dogs" / f"other.{suffix}", mode, FORMATS[suffix])
    except (OSError, ValueError):
        # There is no such picture.
        _save(rng, images / "dogs" / "other.png", mode if mode in ("L", "RGBA", "1") else "L")
    return f"a picture is {mode} in {suffix}", {"channels": rng.choice([1, 3])}


def _layout(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    names = rng.sample(["train", "Training", "test", "val", "cats", "deep/er", ".hidden", "__MACOSX", "x" * 200, "\x1b[2J"], 3)
    for name in names:
        for inner in rng.choice([["."], ["a", "b"], ["train", "test"], ["a", "."]]):
            _save(rng, images / name / inner / "0.png", "RGB")
    if rng.random() < 0.4:
        images = images / rng.choice(["cats", "..", "cats/00.png", "nowhere"])
    return f"the folder also holds {names!r:.80}", {"path": str(images), "subfolders": rng.random() < 0.2}


def _links(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    cats = images / "cats"
    goals = {"circle": cats / "link", "up": images, "root": Path("/dev"), "gone": images / "gone", "class": images / "dogs"}
    goal = rng.choice(list(goals))
    (cats / "link").symlink_to(goals[goal])
    return f"a class folder holds a link ({goal})", {}


def _named(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    name = rng.choice(NAMES)
    place = images / "cats" / os.fsdecode(os.fsencode(name))
    if rng.random() < 0.5:
        _save(rng, place, "RGB")
    else:
        place.write_bytes(b"x")
    return f"a picture is called {name!r:.40}", {}


def _settings(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    key = rng.choice(["path", "image_size", "channels", "test_fraction", "background", "subfolders", "cache"])
    value = rng.choice([*TEXTS, 0, 1, 4096, -1, 2**63, 0.5, 1.0, float("nan"), True, []])
    return f"{key} is {value!r:.60}", {key: value}


def _set(rng: Random, images: Path) -> tuple[str, dict[str, Any]]:
    """Write MNIST's files, of which one is damaged, or says other numbers than it has."""
    raw = images.parent / "sets" / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    labels = [i % 10 for i in range(40)]
    way: Callable[[Path], str] = rng.choice([lambda path: damage(rng, path), lambda path: _header(rng, path)])
    if rng.random() < 0.3:
        labels[rng.randrange(40)] = rng.choice([10, 255])
    for split in ("train", "t10k"):
        pixels = struct.pack(">IIII", 2051, 40, 28, 28) + rng.randbytes(40 * 28 * 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(pixels)
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 40) + bytes(labels))
    path = rng.choice(sorted(raw.iterdir()))
    sizes = {"root": "sets", "image_size": rng.choice([8, 28, 40])}
    return f"{path.name} is {way(path)}", {"use": "standard/mnist", **sizes}


def _header(rng: Random, path: Path) -> str:
    content = bytearray(path.read_bytes())
    at = rng.choice(range(0, 16 if "images" in path.name else 8, 4))
    content[at : at + 4] = struct.pack(">I", rng.choice([0, 1, 39, 41, 2051, 2049, 2**31 - 1, 2**32 - 1]))
    path.write_bytes(bytes(content))
    return f"another number at {at}"
