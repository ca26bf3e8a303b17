"""Sizes of images, and resizing small sets in memory."""

from __future__ import annotations

import os
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError, Range

ImageSize = Annotated[int, Range(1, 4096)]
"""Height and width of an image, in pixels, as a setting."""

_CHUNK = 1024


def resized(images: Tensor, image_size: int) -> Tensor:
    """Return images (N, C, H, W) uint8 resized to `image_size` pixels a side, bilinear with antialias, rounded.

    Raises:
        GancoreError: They would need more memory than the machine has.
    """
    if images.shape[-2:] == (image_size, image_size):
        return images
    wanted, memory = images.shape[0] * images.shape[1] * image_size**2, _memory()
    if memory is not None and wanted > memory:
        raise GancoreError(
            f"{len(images)} images of {image_size} pixels a side take {wanted / 2**30:.0f} GiB of memory, and this machine has "
            f"{memory / 2**30:.0f}; lower image_size."
        )
    result = torch.empty((*images.shape[:2], image_size, image_size), dtype=torch.uint8)
    # In pieces, since the whole set in float32 would take four times its memory.
    for start in range(0, len(images), _CHUNK):
        piece = images[start : start + _CHUNK].float()
        piece = F.interpolate(piece, size=(image_size, image_size), mode="bilinear", align_corners=False, antialias=True)
        result[start : start + _CHUNK] = piece.round_().clamp_(0, 255).to(torch.uint8)
    return result


def _memory() -> int | None:
    """Return the bytes of memory that the machine has, where it says so."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
