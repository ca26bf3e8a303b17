"""Convolutions that double or halve the images as they go.

A residual block of a GAN repeats every pixel before a 3 x 3 convolution, or averages pixels in fours after one. Both steps are
linear, so they are one convolution with a 4 x 4 kernel and stride 2, of 16 products for each small pixel where the two steps
take 36. The results are equal but for rounding.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BOX = ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0))
"""Maps a kernel of 3 to that kernel after a box of 2 ones."""


def halved(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``avg_pool2d(convolution(x), 2)`` for images (N, C, H, W) of even size and a padded 3 x 3 convolution."""
    kernel = _widened(convolution.weight.permute(2, 3, 0, 1), 0.25, False)
    return F.conv2d(x, kernel, convolution.bias, stride=2, padding=1)


def doubled(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``convolution(interpolate(x, scale_factor=2))``, nearest, for (N, C, H, W) and a padded 3 x 3 convolution."""
    outputs, inputs = convolution.weight.shape[:2]
    # As a matrix, for copying a transposed matrix is many times faster than copying permuted images.
    rows = convolution.weight.permute(0, 2, 3, 1).reshape(outputs, 9 * inputs).t().contiguous()
    kernel = _widened(rows.view(3, 3, inputs, outputs), 1.0, True)
    return F.conv_transpose2d(x, kernel, convolution.bias, stride=2, padding=1)


def _widened(taps: Tensor, factor: float, flipped: bool) -> Tensor:
    """Return kernels (3, 3, A, B) after a 2 x 2 box of `factor`, as (A, B, 4, 4)."""
    with torch.autocast(taps.device.type, enabled=False):
        wide = _boxes(factor, flipped, taps.device, taps.dtype) @ taps.reshape(9, -1)
    return wide.view(4, 4, *taps.shape[2:]).permute(2, 3, 0, 1)


@functools.cache
def _boxes(factor: float, flipped: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    one = torch.tensor(BOX, dtype=dtype)
    one = one.flip(1) if flipped else one
    return (factor * torch.kron(one, one)).to(device)
