"""Files of generated images: grids as PNG, JPEG or WebP, and arrays for other tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gancore import GancoreError
from gancore.tools import replacing, to_uint8
from gancore_standard.pictures import grid

_REMEDY = "choose another file"

_LONGEST = {"JPEG": 65_535, "WEBP": 16_383}
"""Pixels that the longer side of a picture may have, by format."""


def save_png(images: Tensor, path: Path, *, columns: int | None = None) -> None:
    """Write the `grid` of images as a PNG file, all or nothing; missing folders are made.

    Args:
        images: As for `grid`.
        path: The file.
        columns: As for `grid`.

    Raises:
        GancoreError: As `grid` does, or the file can't be written.
    """
    save_picture(grid(images, columns), path)


def save_jpeg(images: Tensor, path: Path, *, columns: int | None = None) -> None:
    """Write the `grid` of images as a JPEG file, as `save_png` does. JPEG changes pixels a little; PNG and WebP do not.

    Args:
        images: As for `grid`.
        path: The file.
        columns: As for `grid`.

    Raises:
        GancoreError: As `grid` does, or the file can't be written, or no JPEG is as large as the grid.
    """
    save_picture(grid(images, columns), path, "JPEG")


def save_webp(images: Tensor, path: Path, *, columns: int | None = None) -> None:
    """Write the `grid` of images as a WebP file, without loss, as `save_png` does.

    Args:
        images: As for `grid`.
        path: The file.
        columns: As for `grid`.

    Raises:
        GancoreError: As `grid` does, or the file can't be written, or no WebP is as large as the grid.
    """
    save_picture(grid(images, columns), path, "WEBP")


def save_picture(picture: Image.Image, path: Path, kind: str = "PNG") -> None:
    """Write a picture, all or nothing; missing folders are made.

    Args:
        picture: The picture.
        path: The file.
        kind: ``PNG``, ``JPEG`` or ``WEBP``; the file's name says nothing of it.

    Raises:
        GancoreError: The file can't be written, or the picture is larger than the format allows.
    """
    longest = _LONGEST.get(kind)
    if longest is not None and max(picture.size) > longest:
        width, height = picture.size
        raise GancoreError(f"{path} can't be written: {width} x {height} pixels are too many for {kind}; write a PNG.")
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    with replacing(path, _REMEDY) as beside:
        picture.save(beside, format=kind, **options)


def save_arrays(
    images: Tensor,
    path: Path,
    *,
    columns: int | None = None,  # noqa: ARG001
    labels: Tensor | None = None,
) -> None:
    """Write images as an npz file, all or nothing; missing folders are made.

    ``arr_0`` holds the images (N, H, W, C) as uint8, and ``arr_1`` the labels (N,) or (N, A) as int64 where they are known:
    the layout of ADM's samples (Dhariwal and Nichol 2021, arXiv:2105.05233), which its evaluation and others' read. Points in
    the plane (N, 2, 1, 1) are written as they are, as float32 (N, 2).

    Args:
        images: Images (N, C, H, W) in [-1, 1]; values outside are clipped.
        path: The file.
        columns: Of a grid, which this is not.
        labels: Their labels.

    Raises:
        GancoreError: The shape is another, a value is not finite, or the file can't be written.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise GancoreError(f"{path} needs images of shape (N, C, H, W), none of them zero, and got {tuple(images.shape)}.")
    if not bool(images.isfinite().all()):
        raise GancoreError(f"{path} can't be written: images hold values that are not finite; sample an earlier checkpoint.")
    points = tuple(images.shape[1:]) == (2, 1, 1)
    array = images.float().flatten(1) if points else to_uint8(images).permute(0, 2, 3, 1)
    arrays = [array.cpu().contiguous().numpy(), *([] if labels is None else [labels.cpu().numpy()])]
    with replacing(path, _REMEDY) as beside, beside.open("wb") as file:
        np.savez(file, *arrays)
