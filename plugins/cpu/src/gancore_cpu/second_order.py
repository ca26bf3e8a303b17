"""Gradients of a convolution's gradients, which R1 and WGAN-GP ask for: the weight's is computed as what it is.

The gradient by the input is linear in the weight, so that its own gradient by the weight is a weight gradient, of the input's
perturbation and of the gradient of the output. torch's formula calls the forward convolution for it instead, with channels
and batch exchanged in copies and maps in the place of windows, which takes about twice as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gancore_cpu.gradients import Arguments, Gradients, is_plain
from gancore_cpu.processor import Way


class SecondOrder(NamedTuple):
    """What ``aten::_convolution_double_backward`` is called with, in its order.

    Attributes:
        by_input_gradient: Gradient by the gradient of the convolution's input, and so of the input's shape.
        by_weight_gradient: Gradient by the gradient of the weight.
        by_bias_gradient: Gradient by the gradient of the bias.
        grad_output: Gradient of the convolution's output.
        weight: The convolution's.
        input: The convolution's.
        stride: Of the windows.
        padding: Of the larger maps.
        dilation: Of the windows.
        transposed: Whether it is a transposed convolution.
        output_padding: Of a transposed one.
        groups: Of channels.
        output_mask: Whether gradients by `grad_output`, `input` and `weight` are asked for.
    """

    by_input_gradient: Tensor | None
    by_weight_gradient: Tensor | None
    by_bias_gradient: Tensor | None
    grad_output: Tensor
    weight: Tensor
    input: Tensor
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    transposed: bool
    output_padding: list[int]
    groups: int
    output_mask: tuple[bool, bool, bool]


def second_order(arguments: SecondOrder, way: Way, library: Callable[[SecondOrder], Gradients]) -> Gradients:
    """Return the gradients by a convolution's `grad_output`, `input` and `weight`, None where one depends on nothing.

    Third derivatives, penalties of other gradients than the input's, and all that was not measured come from the library.

    Args:
        arguments: The convolution's.
        way: How to compute weight gradients; only ``product`` changes anything here, for only its processors were measured.
        library: Computes what it did without this.
    """
    moved = arguments.by_input_gradient
    other = arguments.by_weight_gradient is not None or arguments.by_bias_gradient is not None
    if way != "product" or moved is None or other or torch.is_grad_enabled():
        return library(arguments)
    to_grad_output, _, to_weight = arguments.output_mask
    of = _weight_gradient(arguments, moved)
    if not to_weight or not is_plain(of):
        return library(arguments)
    by_weight: Tensor = torch.ops.aten.convolution_backward(*of)[1]
    return (_again(arguments, moved) if to_grad_output else None), None, by_weight


def _weight_gradient(arguments: SecondOrder, moved: Tensor) -> Arguments:
    """Return the call for the gradient by the weight."""
    return Arguments(
        arguments.grad_output,
        moved,
        arguments.weight,
        None,
        arguments.stride,
        arguments.padding,
        arguments.dilation,
        arguments.transposed,
        arguments.output_padding,
        arguments.groups,
        (False, True, False),
    )


def _again(arguments: SecondOrder, moved: Tensor) -> Tensor:
    """Return the convolution, without bias, of the input's perturbation: the gradient by `grad_output`, as torch has it."""
    _, _, _, _, weight, _, stride, padding, dilation, transposed, output_padding, groups, _ = arguments
    maps: Tensor = torch.ops.aten.convolution(
        moved, weight, None, stride, padding, dilation, transposed, output_padding, groups
    )
    return maps
