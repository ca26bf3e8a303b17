"""What the image sets share: where data lie, names of splits, resizing of small sets in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError, Range
from gancore.tools import did_you_mean

SPLITS = ("train", "test")

ImageSize = Annotated[int, Range(1, 4096)]

_CHUNK = 1024


def data_root(root: str | None) -> Path:
    """Return the folder that holds the image sets: `root`, else GANCORE_DATA, else ``data`` in the cache folder."""
    given = root or os.environ.get("GANCORE_DATA")
    return expanded(given) if given else cache_folder(None) / "data"


def cache_folder(cache: str | None) -> Path:
    """Return the folder for what can be made again: `cache`, else GANCORE_CACHE, else ``~/.cache/gancore``."""
    return expanded(cache or os.environ.get("GANCORE_CACHE") or "~/.cache/gancore")


def expanded(path: str) -> Path:
    """Return a path with its leading ``~`` replaced, where there is such a user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def exists(path: Path) -> bool:
    """Return whether there is such a file or folder that may be looked at."""
    try:
        return path.exists()
    except OSError:
        return False


def check_split(split: str) -> None:
    """Raise `GancoreError` unless `split` is ``"train"`` or ``"test"``."""
    if split not in SPLITS:
        raise GancoreError(f"An image set has the splits 'train' and 'test', not {split!r}{did_you_mean(split, SPLITS)}.")


def resized(images: Tensor, image_size: int) -> Tensor:
    """Return images (N, C, H, W) uint8 resized to `image_size` pixels a side, bilinear with antialias, rounded."""
    if images.shape[-2:] == (image_size, image_size):
        return images
    result = torch.empty((*images.shape[:2], image_size, image_size), dtype=torch.uint8)
    # In pieces, since the whole set in float32 would take four times its memory.
    for start in range(0, len(images), _CHUNK):
        piece = images[start : start + _CHUNK].float()
        piece = F.interpolate(piece, size=(image_size, image_size), mode="bilinear", align_corners=False, antialias=True)
        result[start : start + _CHUNK] = piece.round_().clamp_(0, 255).to(torch.uint8)
    return result
