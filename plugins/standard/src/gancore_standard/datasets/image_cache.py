"""Pictures decoded and resized once, kept as one memory-mapped array on disk."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

import click
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gancore import GancoreError
from gancore.tools import digest_of, replacing

FORMAT = 2
"""Raised whenever the pixels of the same file would come out differently, so that older caches are replaced."""

_CHUNK = 256
"""Pictures decoded at once; more would only take memory."""

Pixels = npt.NDArray[np.uint8]
Item = TypeVar("Item")


def decode(source: Path | bytes, image_size: int, channels: int, *, name: str) -> Pixels:
    """Return a picture as (channels, image_size, image_size) uint8.

    The shorter side is resized to `image_size` (bilinear, antialiased) and the center cut out, as torchvision's ``Resize``
    and ``CenterCrop`` do. A camera's orientation tag is obeyed, transparency is dropped, 16 bits are scaled to 8.

    Args:
        source: File, or the file's content.
        image_size: Pixels a side.
        channels: 3 for color, 1 for gray.
        name: Names the picture in the error.

    Raises:
        GancoreError: It can't be read as a picture, or its pixels have 32 bits and so no range that is known.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large or odd files that it reads all the same.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
                return _shaped(_narrowed(ImageOps.exif_transpose(opened), opened.format), image_size, channels)
    except Exception as error:
        # Decoders of damaged files raise whatever they stumble over.
        raise GancoreError(
            f"The image {name} can't be read ({type(error).__name__}: {error}); remove or replace the file."
        ) from error


def _narrowed(image: Image.Image, file_format: str | None) -> Image.Image:
    """Return a picture with 8 bits a channel; Pillow would clip wider ones at 255 instead of scaling them."""
    # Netpbm's pixels of 16 bits come in a mode of 32, scaled by the maximum that their file states.
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format == "PPM"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits and state no white; store them with 8 or 16 bits")
    return image


def _shaped(image: Image.Image, image_size: int, channels: int) -> Pixels:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    image = image.convert("RGB" if channels == 3 else "L")
    width, height = image.size
    short = min(width, height)
    width, height = int(image_size * width / short), int(image_size * height / short)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - image_size) / 2), round((height - image_size) / 2)
    pixels = np.asarray(image.crop((left, top, left + image_size, top + image_size)))
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decoded(items: Iterator[Item], decoder: Callable[[Item], Pixels]) -> Iterator[Pixels]:
    """Yield the pictures of `items` in order, decoded on all cores."""
    with ThreadPoolExecutor() as pool:
        while piece := list(islice(items, _CHUNK)):
            yield from pool.map(decoder, piece)


def cached(folder: Path, name: str, key: Any, shape: Sequence[int], pictures: Callable[[], Iterator[Pixels]]) -> Tensor:
    """Return pictures as a memory-mapped tensor, made and written to disk when they are not there yet.

    Args:
        folder: Where the arrays are kept.
        name: For people: start of the file's name, and what the progress bar says.
        key: What the pixels depend on, as JSON can write it.
        shape: (N, C, H, W).
        pictures: Yields N arrays (C, H, W) uint8.

    Raises:
        GancoreError: The array can't be written, or a picture can't be read.
    """
    path = folder / f"{name[:50]}-{digest_of([FORMAT, key, list(shape)], 24)}.npy"
    images = _opened(path, shape)
    if images is None:
        remedy = "make room there, or name another folder by [data] cache or GANCORE_CACHE"
        # Under another name until it is whole, so that a run killed half way, or another process, never meets half a file.
        with replacing(path, remedy) as partial, partial.open("wb") as file:
            _fill(file, shape, pictures(), title=f"Preparing {shape[0]} images of {name}, once")
        images = _opened(path, shape)
        if images is None:
            raise GancoreError(f"The prepared images in {path} can't be read back; delete the file and try again.")
    return images


def _opened(path: Path, shape: Sequence[int]) -> Tensor | None:
    """Return the array, or None where it is missing or damaged; it is then made again."""
    try:
        # "c": torch asks for writable memory; a write would stay in memory and never reach the file.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(array) if array.dtype == np.uint8 and array.shape == tuple(shape) else None


def _fill(file: IO[bytes], shape: Sequence[int], pictures: Iterator[Pixels], *, title: str) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, header)
    with click.progressbar(pictures, length=shape[0], label=title, file=sys.stderr) as shown:
        for pixels in shown:
            # Written rather than assigned to a mapped array: a full disk is then an error and not a crash.
            file.write(pixels.tobytes())
