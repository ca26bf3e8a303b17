"""Gradients of a convolution's weight in two ways that keep a matrix unit full where maps are small.

Both compute, from `small` (N, K, h, w) and `large` (N, C, H, W), the tensor

    gradient[k, c, a, b] = sum over n, i, j of small[n, k, i, j] * large[n, c, i s + a - p, j s + b - p]

with stride s, padding p and zeros outside of `large`. For a convolution `small` is the gradient of its output and `large` its
input; for a transposed one they are its input and the gradient of its output. Sums are in another order than the library's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Geometry(NamedTuple):
    """What of a convolution decides where its windows lie: (height, width) each.

    Attributes:
        kernel: Pixels of a window.
        stride: Pixels from a window to the next.
        padding: Pixels of zeros before the first and after the last.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


def by_product(small: Tensor, large: Tensor, geometry: Geometry) -> Tensor:
    """Return the gradient (K, C, a, b) as one product of matrices, (K, N h w) by (N h w, a b C).

    Args:
        small: See above.
        large: See above.
        geometry: The convolution's.
    """
    number, rows, columns = small.shape[0], *small.shape[2:]
    windows = _windows(large, (rows, columns), geometry)
    pixels = small.permute(0, 2, 3, 1).reshape(number * rows * columns, small.shape[1])
    gradient = pixels.t() @ windows.reshape(number * rows * columns, -1)
    return gradient.view(small.shape[1], *geometry.kernel, large.shape[1]).permute(0, 3, 1, 2)


def _windows(large: Tensor, size: tuple[int, int], geometry: Geometry) -> Tensor:
    """Return the windows (N, h, w, a, b, C) that `size` (h, w) pixels of the small maps look at, as a view of padded maps."""
    number, channels, height, width = large.shape
    (a, b), (down, right), (top, left) = geometry
    high = max((size[0] - 1) * down + a, top + height)
    wide = max((size[1] - 1) * right + b, left + width)
    padded = large.new_zeros((number, high, wide, channels))
    padded[:, top : top + height, left : left + width] = large.permute(0, 2, 3, 1)
    row = wide * channels
    strides = (high * row, down * row, right * channels, row, channels, 1)
    return padded.as_strided((number, *size, a, b, channels), strides)


Convolution = Callable[[Tensor, Tensor], Tensor]
"""Computes the gradient from `small` and `large` as the library does; their heights and widths may be any that fit."""


def by_fold(small: Tensor, large: Tensor, geometry: Geometry, images: int, library: Convolution) -> Tensor:
    """Return the gradient (K, C, a, b) of a batch whose images lie side by side: the library's own, of fewer and wider maps.

    Between two images lie so many zeros that no window of one reaches into the next.

    Args:
        small: See above.
        large: See above.
        geometry: The convolution's.
        images: How many lie side by side; it divides N.
        library: Computes the gradient of the wider maps.
    """
    wide, columns = large.shape[3], small.shape[3]
    kernel, stride, padding = geometry.kernel[1], geometry.stride[1], geometry.padding[1]
    # The next image begins after this one and the padding, and after the last window of this one.
    reach = max(wide + padding, (columns - 1) * stride + kernel - padding)
    pitch = max(-(-reach // stride), columns)
    folded = _side_by_side(large, images, pitch * stride, images * pitch * stride)
    windows = (folded.shape[3] + 2 * padding - kernel) // stride + 1
    return library(_side_by_side(small, images, pitch, windows), folded)


def _side_by_side(maps: Tensor, images: int, pitch: int, width: int) -> Tensor:
    """Return maps (N / images, C, H, width), channels last: images that begin `pitch` pixels apart, with zeros between them."""
    number, channels, height, wide = maps.shape
    room = max(width, images * pitch)
    folded = maps.new_zeros((number // images, height, room, channels))
    places = folded[:, :, : images * pitch].unflatten(2, (images, pitch))
    places[:, :, :, :wide] = maps.permute(0, 2, 3, 1).unflatten(0, (-1, images)).transpose(1, 2)
    return folded[:, :, :width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
