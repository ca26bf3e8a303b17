"""Pictures decoded and resized once, kept as one memory-mapped array on disk."""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click
import numpy as np
import torch
from gancore_training import digest_of
from torch import Tensor

from gancore import GancoreError
from gancore.tools import cache_root, replacing
from gancore_standard.datasets.decoding import FORMAT, Pixels

_PIECE = 1 << 23
"""Bytes that are checked at a time."""

_REMEDY = "make room there, or name another folder by GANCORE_CACHE"


def cached(name: str, key: Any, shape: Sequence[int], pictures: Callable[[], Iterator[Pixels]]) -> Tensor:
    """Return pictures as a memory-mapped tensor, made and written to disk when they are not there yet.

    They lie in ``images`` in the cache folder, with a digest of their content at the end, which is checked.

    Args:
        name: For people: start of the file's name, and what the progress bar says.
        key: What the pixels depend on, as JSON can write it.
        shape: (N, C, H, W).
        pictures: Yields N arrays (C, H, W) uint8.

    Raises:
        GancoreError: The array can't be written, or a picture can't be read.
    """
    path = cache_root() / "images" / f"{name[:50]}-{digest_of([FORMAT, key, list(shape)], 24)}.npy"
    images = _opened(path, shape)
    if images is None:
        # Under another name until it is whole, so that a run killed half way, or another process, never meets half a file.
        with replacing(path, _REMEDY) as partial, partial.open("wb") as file:
            _check_room(path, shape)
            _fill(file, shape, pictures(), title=f"Preparing {shape[0]} images of {name}, once")
        images = _opened(path, shape)
        if images is None:
            raise GancoreError(f"The prepared images in {path} can't be read back; delete the file and try again.")
    return images


def _opened(path: Path, shape: Sequence[int]) -> Tensor | None:
    """Return the array, or None where it is missing, damaged or another; it is then made again."""
    try:
        # "c": torch asks for writable memory; a write would stay in memory and never reach the file.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if array.dtype != np.uint8 or array.shape != tuple(shape) or not _is_sound(path):
            return None
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(array)


def _is_sound(path: Path) -> bool:
    state = hashlib.sha256()
    with path.open("rb") as file:
        left = path.stat().st_size - state.digest_size
        while left > 0 and (piece := file.read(min(left, _PIECE))):
            state.update(piece)
            left -= len(piece)
        return left == 0 and file.read() == state.digest()


def _check_room(path: Path, shape: Sequence[int]) -> None:
    wanted, free = int(np.prod(shape, dtype=np.float64)), shutil.disk_usage(path.parent).free
    if wanted > free:
        raise GancoreError(
            f"{shape[0]} images of {shape[3]} pixels a side take {wanted / 2**30:.1f} GiB, and {path.parent} has "
            f"{free / 2**30:.1f} free; {_REMEDY}, or lower image_size."
        )


def _fill(file: IO[bytes], shape: Sequence[int], pictures: Iterator[Pixels], *, title: str) -> None:
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)})
    file.write(start.getvalue())
    state = hashlib.sha256(start.getvalue())
    with click.progressbar(pictures, length=shape[0], label=title, file=sys.stderr) as shown:
        for pixels in shown:
            # Written rather than assigned to a mapped array: a full disk is then an error and not a crash.
            content = pixels.tobytes()
            file.write(content)
            state.update(content)
    file.write(state.digest())
