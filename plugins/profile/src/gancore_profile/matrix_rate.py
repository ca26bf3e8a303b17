"""How fast this machine multiplies matrices: what a training's FLOP/s are to be compared with."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from gancore_training import synchronize
from torch import Tensor
from torch.nn import functional as F

SECONDS = 0.5
"""Time for each of the two kinds of product; the best repetition counts, so more only makes a quiet moment likelier."""


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return FLOP/s: the better of a large matrix product and a large convolution, each at its best of a second's half.

    Args:
        device: Where to compute, with as many threads as torch uses now.
        dtype: What to compute in.
    """
    size, batch = (8192, 256) if device.type == "cuda" else (1024, 32)
    square = torch.randn(size, size, device=device, dtype=dtype)
    images = torch.randn(batch, 128, 16, 16, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernels = torch.randn(128, 128, 3, 3, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        products = _best(lambda: square @ square, device)
        convolutions = _best(lambda: F.conv2d(images, kernels, padding=1), device)
    # A multiplication and an addition for each pair that is summed.
    return max(2 * size**3 / products, 2 * batch * 16 * 16 * 128 * 128 * 9 / convolutions)


def _best(product: Callable[[], Tensor], device: torch.device) -> float:
    """Return the seconds of the fastest repetition; the first, which may compile and allocate, never counts."""
    product()
    taken: list[float] = []
    end = time.perf_counter() + SECONDS
    while not taken or time.perf_counter() < end:
        synchronize(device)
        started = time.perf_counter()
        product()
        synchronize(device)
        taken.append(time.perf_counter() - started)
    return min(taken)
