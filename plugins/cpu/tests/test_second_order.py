"""Gradients of gradients: which are the library's, to the last bit, and how near to the truth the others are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_cpu import override
from gancore_cpu.override import can_override, overridden
from gancore_cpu.second_order import SecondOrder, second_order
from torch import Tensor
from torch.nn import functional as F

pytestmark = pytest.mark.skipif(not can_override(), reason="this torch has no get_kernel")

LOW = torch.bfloat16


def call(
    dtype: torch.dtype = LOW,
    *,
    number: int = 6,
    channels: tuple[int, int] = (24, 16),
    size: tuple[int, int] = (8, 8),
    kernel: tuple[int, int] = (3, 3),
    stride: int = 1,
    padding: int = 1,
    dilation: int = 1,
    transposed: bool = False,
    output_padding: int = 0,
    groups: int = 1,
    layout: torch.memory_format = torch.channels_last,
) -> SecondOrder:
    """Return what a penalty's backward asks of a convolution from the second of `channels` to the first, by its input."""
    torch.manual_seed(0)
    out, into = channels
    shape = (into, out // groups) if transposed else (out, into // groups)
    weight = torch.randn(*shape, *kernel).to(dtype)
    images, moved = (torch.randn(number, into, *size).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    geometry = ([stride] * 2, [padding] * 2, [dilation] * 2, transposed, [output_padding] * 2, groups)
    grad = torch.randn_like(torch.ops.aten.convolution(images, weight, None, *geometry))
    return SecondOrder(moved, None, None, grad, weight, images, *geometry, (True, True, True))


def answer(arguments: SecondOrder) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return what the operator gives, as a backward without a graph calls it."""
    with torch.no_grad():
        gradients: tuple[Tensor | None, Tensor | None, Tensor | None]
        gradients = torch.ops.aten._convolution_double_backward(*arguments)
        return gradients


def in_double(arguments: SecondOrder) -> SecondOrder:
    assert arguments.by_input_gradient is not None
    return arguments._replace(
        by_input_gradient=arguments.by_input_gradient.double(),
        grad_output=arguments.grad_output.double(),
        weight=arguments.weight.double(),
        input=arguments.input.double(),
    )


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other is None or (one is not None and other is not None and torch.equal(one, other))


def distance(gradient: Tensor | None, truth: Tensor | None) -> float:
    assert gradient is not None
    assert truth is not None
    assert gradient.shape == truth.shape
    return float((gradient.double() - truth).norm() / truth.norm())


CASES: dict[str, dict[str, Any]] = {
    "3 x 3": {},
    "one product": {"channels": (64, 64), "size": (4, 4)},
    "4 x 4, stride 2": {"kernel": (4, 4), "stride": 2},
    "windows of one pixel": {"kernel": (1, 1), "padding": 0},
    "nothing square": {"kernel": (3, 2), "size": (9, 6), "padding": 0, "stride": 2},
    "odd batch": {"number": 7},
    "one image of three channels": {"number": 1, "channels": (64, 3)},
    "channels first": {"layout": torch.contiguous_format},
    "transposed": {"kernel": (4, 4), "stride": 2, "transposed": True},
    "transposed, rows more": {"stride": 2, "transposed": True, "output_padding": 1},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_weights_gradient_is_as_near_to_the_truth_and_all_else_has_the_librarys_bits(case: dict[str, Any]) -> None:
    arguments = call(**case)
    plain, truth = answer(arguments), answer(in_double(arguments))
    with overridden("product"):
        ours = answer(arguments)
    assert plain[1] is ours[1] is None
    assert same(ours[0], plain[0])
    assert distance(ours[2], truth[2]) < 1.05 * distance(plain[2], truth[2]) + 1e-4


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SecondOrder]:
    """What the library has been asked for."""
    calls: list[SecondOrder] = []

    def watched(arguments: SecondOrder, way: Any, library: Callable[[SecondOrder], Any]) -> Any:
        def noted(of: SecondOrder) -> Any:
            calls.append(of)
            return library(of)

        return second_order(arguments, way, noted)

    monkeypatch.setattr(override, "second_order", watched)
    return calls


def test_the_librarys_formula_is_not_asked_for_what_is_measured(asked: list[SecondOrder]) -> None:
    with overridden("product"):
        answer(call())
    assert asked == []


UNTOUCHED: dict[str, SecondOrder] = {
    "float32": call(torch.float32),
    "groups": call(groups=2),
    "dilation": call(dilation=2),
    "an empty batch": call(number=0),
    "the weight is frozen": call()._replace(output_mask=(True, True, False)),
    "a penalty of the weight's gradient too": call()._replace(by_weight_gradient=torch.randn(24, 16, 3, 3, dtype=LOW)),
    "a penalty of the bias's gradient alone": call()._replace(
        by_input_gradient=None, by_bias_gradient=torch.randn(24, dtype=LOW)
    ),
}


@pytest.mark.parametrize("arguments", UNTOUCHED.values(), ids=UNTOUCHED)
def test_what_was_not_measured_is_the_librarys(arguments: SecondOrder, asked: list[SecondOrder]) -> None:
    plain = answer(arguments)
    with overridden("product"):
        ours = answer(arguments)
    assert len(asked) == 1
    assert all(same(mine, theirs) for mine, theirs in zip(ours, plain, strict=True))


def test_folding_changes_no_second_derivative(asked: list[SecondOrder]) -> None:
    with overridden("fold"):
        answer(call())
    assert len(asked) == 1


def third(dtype: torch.dtype) -> Tensor:
    """Return the gradient by the weight of the norm of a penalty's own gradient by the input."""
    torch.manual_seed(0)
    weight = (0.1 * torch.randn(64, 64, 3, 3)).to(LOW).to(dtype).requires_grad_()
    images = torch.randn(6, 64, 4, 4).to(LOW).to(dtype).requires_grad_()
    critic = (F.softplus(F.conv2d(images, weight, padding=1)) ** 2).sum()
    (slope,) = torch.autograd.grad(critic, images, create_graph=True)
    (bend,) = torch.autograd.grad(slope.square().mean(), images, create_graph=True)
    (gradient,) = torch.autograd.grad(bend.square().sum(), weight)
    return gradient


def test_third_derivatives_are_right_for_a_graph_is_the_librarys(asked: list[SecondOrder]) -> None:
    plain, truth = third(LOW), third(torch.float64)
    with overridden("product"):
        ours = third(LOW)
    assert asked
    assert distance(ours, truth) < 1.05 * distance(plain, truth) + 1e-3
