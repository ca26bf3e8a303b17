"""The gradients of one convolution: which of them are computed in another way than the library's, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from gancore_cpu.processor import Way
from gancore_cpu.weight_gradients import Geometry, by_fold, by_product

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Of a convolution's input, weight and bias."""

FULL_ROW = 16
"""Pixels of a row of which a matrix unit (AMX) is full enough: rows that have them stay as they are."""

FOLDED_ROW = 32
"""Pixels that images side by side come to: all that a tile of AMX holds, in bfloat16."""

PRODUCT_SIDE = 4
"""Pixels a side of the largest maps for which one product of matrices is the faster way without AMX, whatever the windows."""

WIDE_SIDE, WIDE_CHANNELS, WIDE_OVERLAP = 8, 256, 4
"""The same of maps with so many channels, where windows hold no pixel more often than this: as 4 x 4 ones with stride 2 do."""

MOST_OVERLAP = 49
"""How often the windows of a product may hold a pixel (7 x 7, stride 1): they are copied, and more was not measured."""

LEAST_CHANNELS = 64
"""Fewer channels leave little to compute, and the copies cost more than they save."""


class Arguments(NamedTuple):
    """What ``aten::convolution_backward`` is called with, in its order.

    Attributes:
        grad_output: Gradient of the convolution's output (N, K, h, w), of a transposed one (N, C, H, W).
        input: The convolution's input, (N, C, H, W) or (N, K, h, w).
        weight: (K, C, a, b), with the smaller maps' channels first in both.
        bias_sizes: Shape of the bias, None where there is none.
        stride: Of the windows.
        padding: Of the larger maps.
        dilation: Of the windows.
        transposed: Whether it is a transposed convolution.
        output_padding: Of a transposed one.
        groups: Of channels.
        output_mask: Which of the three gradients are asked for.
    """

    grad_output: Tensor
    input: Tensor
    weight: Tensor
    bias_sizes: list[int] | None
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int
    output_mask: tuple[bool, bool, bool]

    @property
    def small(self) -> Tensor:
        """The smaller maps, each pixel of which belongs to a window."""
        return self.input if self.transposed else self.grad_output

    @property
    def large(self) -> Tensor:
        """The larger maps, in which the windows lie."""
        return self.grad_output if self.transposed else self.input

    @property
    def geometry(self) -> Geometry:
        """Where the windows lie."""
        a, b = self.weight.shape[2:]
        return Geometry((a, b), (self.stride[0], self.stride[1]), (self.padding[0], self.padding[1]))


Library = Callable[[Arguments], Gradients]
"""torch's own kernel."""


def gradients(arguments: Arguments, way: Way, library: Library) -> Gradients:
    """Return the gradients of a convolution; what this module has no better way for comes from the library, untouched.

    Args:
        arguments: The convolution's.
        way: How to compute weight gradients.
        library: Computes what it did without this.
    """
    if way == "off" or not is_plain(arguments):
        return library(arguments)
    to_input, to_weight, to_bias = arguments.output_mask
    ours = _weight_gradient(arguments, way, library) if to_weight else None
    # The library computes the weight gradient once more for a bias alone, and a transposed convolution's bias in a slow way.
    summed = to_bias and (arguments.transposed or ours is not None)
    rest = (to_input, to_weight and ours is None, to_bias and not summed)
    theirs = library(arguments._replace(output_mask=rest)) if any(rest) else (None, None, None)
    bias = arguments.grad_output.sum((0, 2, 3)) if summed else theirs[2]
    return theirs[0], theirs[1] if ours is None else ours, bias


def is_plain(arguments: Arguments) -> bool:
    """Return whether a convolution is of a kind that was measured: bfloat16 images on a CPU, whole windows, one group."""
    tensors = (arguments.grad_output, arguments.input, arguments.weight)
    plain = all(
        type(each) in (Tensor, Parameter) and each.dtype == torch.bfloat16 and each.layout == torch.strided for each in tensors
    )
    whole = arguments.groups == 1 and all(step == 1 for step in arguments.dilation)
    images = arguments.weight.dim() == 4 and len(arguments.stride) == len(arguments.padding) == 2
    return plain and whole and images and all(each.numel() for each in tensors)


def _weight_gradient(arguments: Arguments, way: Way, library: Library) -> Tensor | None:
    """Return the gradient of the weight, or None where the library is as fast."""
    small, large, geometry = arguments.small, arguments.large, arguments.geometry
    taken = way_of_weight(small.shape, large.shape, geometry, way)
    if taken == "product":
        return by_product(small, large, geometry)
    if taken == "off":
        return None

    def convolution(folded_small: Tensor, folded_large: Tensor) -> Tensor:
        again = arguments._replace(grad_output=folded_small, input=folded_large, bias_sizes=None, transposed=False)
        weight = library(again._replace(output_padding=[0, 0], output_mask=(False, True, False)))[1]
        assert weight is not None
        return weight

    return by_fold(small, large, geometry, images_in_a_row(small.shape[0], small.shape[3]), convolution)


def way_of_weight(small: Sequence[int], large: Sequence[int], geometry: Geometry, way: Way) -> Way:
    """Return how the weight gradient of one convolution is computed, by its shapes alone; ``off`` is by the library.

    Args:
        small: Shape of the smaller maps (N, K, h, w).
        large: Shape of the larger maps (N, C, H, W).
        geometry: The convolution's.
        way: The run's.
    """
    number, channels, rows, columns = small
    if way == "off" or geometry.kernel == (1, 1) or min(channels, large[1]) < LEAST_CHANNELS:
        return "off"
    if way == "fold":
        return "fold" if images_in_a_row(number, columns) > 1 else "off"
    (a, b), (down, right), _ = geometry
    overlap = a * b / (down * right)
    wide = channels >= WIDE_CHANNELS and overlap <= WIDE_OVERLAP
    fits = max(rows, columns) <= (WIDE_SIDE if wide else PRODUCT_SIDE) and overlap <= MOST_OVERLAP
    return "product" if fits else "off"


def images_in_a_row(number: int, columns: int) -> int:
    """Return how many of `number` images to lay side by side; 1 where rows are long enough, or the batch can't be divided so.

    Args:
        number: Images of the batch.
        columns: Pixels of a row of one image's smaller maps.
    """
    images = -(-FOLDED_ROW // columns)
    return images if columns < FULL_ROW and number % images == 0 else 1
