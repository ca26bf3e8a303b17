"""Gradients of convolutions while a kernel stands in the library's place: which bits are the same, how near the others are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from gancore_cpu import gradients, override
from gancore_cpu.gradients import Arguments
from gancore_cpu.override import can_override, overridden
from torch import Tensor
from torch.nn import functional as F

pytestmark = pytest.mark.skipif(not can_override(), reason="this torch has no get_kernel")

WAYS = ("fold", "product")
LOW = torch.bfloat16
ROUNDING = 2.0**-8
"""Half a unit in the last place of bfloat16, relative."""


class Convolution(NamedTuple):
    """A convolution of square maps; transposed, its channels are those of the input and of the output."""

    number: int
    out: int
    into: int
    size: int
    kernel: int
    stride: int = 1
    padding: int = 1
    transposed: bool = False
    groups: int = 1
    dilation: int = 1

    def operands(self, dtype: torch.dtype = LOW) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradient of the output, the input and the weight."""
        torch.manual_seed(0)
        shape = (self.into, self.out // self.groups) if self.transposed else (self.out, self.into // self.groups)
        weight = (0.1 * torch.randn(*shape, self.kernel, self.kernel)).to(dtype)
        images = torch.randn(self.number, self.into, self.size, self.size).to(dtype)
        return torch.randn_like(self(images, weight)), images, weight

    def __call__(self, images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.transposed:
            return F.conv_transpose2d(
                images, weight, bias, self.stride, self.padding, groups=self.groups, dilation=self.dilation
            )
        return F.conv2d(images, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def gradients(self, grad: Tensor, images: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return those of the input, the weight and the bias, by autograd."""
        images, weight = images.detach().requires_grad_(), weight.detach().requires_grad_()
        bias = torch.zeros(grad.shape[1], dtype=grad.dtype, requires_grad=True)
        one, two, three = torch.autograd.grad(self(images, weight, bias), (images, weight, bias), grad)
        return one, two, three


SMALL_MAPS = {
    "3 x 3 on 4 x 4": Convolution(16, 96, 64, 4, 3),
    "halving to 4 x 4": Convolution(16, 64, 80, 8, 4, 2),
    "doubling of 4 x 4": Convolution(16, 64, 96, 4, 4, 2, transposed=True),
}
"""Convolutions whose weight gradient is computed in another way, by either."""


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("one", SMALL_MAPS.values(), ids=SMALL_MAPS)
def test_only_weight_gradients_have_other_bits_and_they_are_as_near_to_the_truth(way: Any, one: Convolution) -> None:
    operands = one.operands()
    plain = one.gradients(*operands)
    with overridden(way):
        ours = one.gradients(*operands)
    truth = one.gradients(*(each.double() for each in operands))
    assert torch.equal(ours[0], plain[0])
    assert not torch.equal(ours[1], plain[1])
    for mine, right in zip(ours, truth, strict=True):
        assert float((mine.double() - right).norm() / right.norm()) < ROUNDING
    assert float((ours[1] - plain[1]).double().norm() / truth[1].norm()) < ROUNDING / 4


@pytest.mark.parametrize("way", WAYS)
def test_the_bias_of_a_transposed_convolution_is_a_sum_and_its_other_gradients_are_the_librarys_bits(way: Any) -> None:
    one = Convolution(4, 64, 64, 16, 4, 2, transposed=True)
    operands = one.operands()
    plain = one.gradients(*operands)
    with overridden(way):
        ours = one.gradients(*operands)
    assert torch.equal(ours[0], plain[0])
    assert torch.equal(ours[1], plain[1])
    assert torch.equal(ours[2], operands[0].sum((0, 2, 3)))
    # Both round a sum in float32, of another order, to bfloat16.
    torch.testing.assert_close(ours[2], plain[2], rtol=2 * ROUNDING, atol=1e-2)


UNTOUCHED = {
    "float32": (Convolution(16, 64, 64, 4, 3), torch.float32),
    "float32, transposed": (Convolution(16, 64, 64, 4, 4, 2, transposed=True), torch.float32),
    "float64": (Convolution(16, 64, 64, 4, 3), torch.float64),
    "groups": (Convolution(16, 128, 128, 4, 3, groups=2), LOW),
    "groups, transposed": (Convolution(16, 128, 128, 4, 4, 2, transposed=True, groups=2), LOW),
    "dilation": (Convolution(16, 64, 64, 6, 3, dilation=2), LOW),
    "windows of one pixel": (Convolution(16, 64, 64, 4, 1, padding=0), LOW),
    "few channels": (Convolution(16, 64, 3, 4, 3), LOW),
    "long rows": (Convolution(16, 64, 64, 16, 3), LOW),
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Arguments]:
    """What the library has been asked for."""
    asked: list[Arguments] = []
    plain = gradients.gradients

    def watched(arguments: Arguments, way: Any, library: Callable[[Arguments], Any]) -> Any:
        def noted(of: Arguments) -> Any:
            asked.append(of)
            return library(of)

        return plain(arguments, way, noted)

    monkeypatch.setattr(override, "gradients", watched)
    return asked


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("one", "dtype"), UNTOUCHED.values(), ids=UNTOUCHED)
def test_what_was_not_measured_is_the_librarys_whole(
    way: Any, one: Convolution, dtype: torch.dtype, calls: list[Arguments]
) -> None:
    operands = one.operands(dtype)
    plain = one.gradients(*operands)
    with overridden(way):
        ours = one.gradients(*operands)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))
    assert [tuple(of.output_mask) for of in calls] == [(True, True, True)]


@pytest.mark.parametrize("way", WAYS)
def test_other_ranks_and_an_empty_batch_are_the_librarys(way: Any, calls: list[Arguments]) -> None:
    lines, weight = torch.randn(4, 64, 8, dtype=LOW), torch.randn(64, 64, 3, dtype=LOW, requires_grad=True)
    with overridden(way):
        F.conv1d(lines, weight, padding=1).sum().backward()
        filters = torch.zeros(64, 64, 3, 3, dtype=LOW, requires_grad=True)
        F.conv2d(torch.zeros(0, 64, 4, 4, dtype=LOW), filters, padding=1).sum().backward()
    assert weight.grad is not None
    assert filters.grad is not None
    assert not filters.grad.any()
    # What the library is asked for is what it was asked for before.
    assert all(of.output_mask[1] for of in calls)


def test_a_batch_that_can_not_be_folded_is_the_librarys(calls: list[Arguments]) -> None:
    one = Convolution(7, 64, 64, 4, 3)
    plain = one.gradients(*one.operands())
    with overridden("fold"):
        ours = one.gradients(*one.operands())
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))
    assert len(calls) == 1


def test_only_the_gradients_that_are_asked_for_are_computed(calls: list[Arguments]) -> None:
    one = SMALL_MAPS["3 x 3 on 4 x 4"]
    grad, images, weight = one.operands()
    with overridden("product"):
        torch.autograd.grad(one(images, weight.requires_grad_()), weight, grad)
    assert calls == []
    with overridden("product"):
        torch.autograd.grad(one(images.requires_grad_(), weight.detach()), images, grad)
    assert [tuple(of.output_mask) for of in calls] == [(True, False, False)]


def penalty(one: Convolution, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the gradients of the norm of a gradient by the input (R1, WGAN-GP), by weight and bias."""
    _, images, weight = (each.to(dtype) for each in one.operands())
    images, weight = images.requires_grad_(), weight.requires_grad_()
    bias = torch.zeros(one.out, dtype=dtype, requires_grad=True)
    critic = (F.softplus(one(images, weight, bias)) ** 2).sum()
    (slope,) = torch.autograd.grad(critic, images, create_graph=True)
    by_weight, by_bias = torch.autograd.grad(slope.square().sum(), (weight, bias))
    return by_weight, by_bias


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("one", SMALL_MAPS.values(), ids=SMALL_MAPS)
def test_second_derivatives_are_right(way: Any, one: Convolution) -> None:
    with overridden(way):
        ours = penalty(one, LOW)
    plain, truth = penalty(one, LOW), penalty(one, torch.float64)
    for mine, theirs, right in zip(ours, plain, truth, strict=True):
        error, before = (float((each.double() - right).norm() / right.norm()) for each in (mine, theirs))
        assert error < 1.05 * before + 1e-3


def test_the_kernel_goes_with_the_block_also_after_an_error(calls: list[Arguments]) -> None:
    one = SMALL_MAPS["3 x 3 on 4 x 4"]
    with pytest.raises(ZeroDivisionError), overridden("product"), overridden("fold"):
        _ = 1 / 0
    one.gradients(*one.operands())
    assert calls == []
    with overridden("product"):
        one.gradients(*one.operands())
    assert len(calls) == 1


def test_blocks_in_blocks_and_in_another_thread_have_each_their_own_way() -> None:
    one = SMALL_MAPS["3 x 3 on 4 x 4"]
    operands = one.operands()
    plain = one.gradients(*operands)[1]
    others: list[Tensor] = []
    with overridden("product"):
        first = one.gradients(*operands)[1]
        with overridden("fold"):
            second = one.gradients(*operands)[1]
        thread = threading.Thread(target=lambda: others.append(one.gradients(*operands)[1]))
        thread.start()
        thread.join()
        again = one.gradients(*operands)[1]
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert torch.equal(others[0], plain)
