"""The gradients of one convolution: which of them are computed in another way than the library's, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gancore_cpu.processor import Way
from gancore_cpu.weight_gradients import Geometry, by_fold, by_product

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Of a convolution's input, weight and bias."""

FULL_ROW = 16
"""Pixels of a row of which a matrix unit (AMX) is full enough: rows that have them stay as they are."""

FOLDED_ROW = 32
"""Pixels that images side by side come to: all that a tile of AMX holds, in bfloat16."""

PRODUCT_ROW = 4
"""Pixels of the longest row for which one product of matrices is the faster way without AMX; its windows cost memory."""

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
    if way == "off" or not _is_ours(arguments):
        return library(arguments)
    to_input, to_weight, to_bias = arguments.output_mask
    ours = _weight_gradient(arguments, way, library) if to_weight else None
    # The library computes the weight gradient once more for a bias alone, and a transposed convolution's bias in a slow way.
    summed = to_bias and (arguments.transposed or ours is not None)
    rest = (to_input, to_weight and ours is None, to_bias and not summed)
    theirs = library(arguments._replace(output_mask=rest)) if any(rest) else (None, None, None)
    bias = arguments.grad_output.sum((0, 2, 3)) if summed else theirs[2]
    return theirs[0], theirs[1] if ours is None else ours, bias


def _is_ours(arguments: Arguments) -> bool:
    """Return whether a convolution is one that was measured: bfloat16 images on a CPU, whole windows, one group."""
    tensors = (arguments.grad_output, arguments.input, arguments.weight)
    plain = all(type(each) is Tensor and each.dtype == torch.bfloat16 and each.layout == torch.strided for each in tensors)
    whole = arguments.groups == 1 and all(step == 1 for step in arguments.dilation)
    images = arguments.weight.dim() == 4 and len(arguments.stride) == len(arguments.padding) == 2
    return plain and whole and images and all(each.numel() for each in tensors)


def _weight_gradient(arguments: Arguments, way: Way, library: Library) -> Tensor | None:
    """Return the gradient of the weight, or None where the library is as fast."""
    small, large, geometry = arguments.small, arguments.large, arguments.geometry
    if geometry.kernel == (1, 1) or min(arguments.weight.shape[:2]) < LEAST_CHANNELS:
        return None
    if way == "product":
        return by_product(small, large, geometry) if small.shape[3] <= PRODUCT_ROW else None
    images = images_in_a_row(small.shape[0], small.shape[3])
    if images == 1:
        return None

    def convolution(folded_small: Tensor, folded_large: Tensor) -> Tensor:
        again = arguments._replace(grad_output=folded_small, input=folded_large, bias_sizes=None, transposed=False)
        weight = library(again._replace(output_padding=[0, 0], output_mask=(False, True, False)))[1]
        assert weight is not None
        return weight

    return by_fold(small, large, geometry, images, convolution)


def images_in_a_row(number: int, columns: int) -> int:
    """Return how many of `number` images to lay side by side; 1 where rows are long enough, or the batch can't be divided so.

    Args:
        number: Images of the batch.
        columns: Pixels of a row of one image's smaller maps.
    """
    images = -(-FOLDED_ROW // columns)
    return images if columns < FULL_ROW and number % images == 0 else 1
