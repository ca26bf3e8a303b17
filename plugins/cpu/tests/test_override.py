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
from gancore_cpu.weight_gradients import Geometry
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
    "doubling of 8 x 8": Convolution(4, 64, 256, 8, 4, 2, transposed=True),
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


TAKEN = {
    (Convolution(64, 512, 256, 4, 3)): "product",
    (Convolution(64, 256, 256, 8, 4, 2)): "product",
    (Convolution(7, 64, 64, 4, 3)): "product",
    (Convolution(64, 256, 128, 8, 3)): "off",  # windows of 3 x 3 hold each pixel nine times
    (Convolution(64, 256, 256, 16, 4, 2)): "product",
    (Convolution(64, 128, 128, 16, 4, 2)): "off",  # too few channels for rows of eight
    (Convolution(64, 256, 256, 32, 4, 2)): "off",
    (Convolution(64, 128, 256, 8, 4, 2, transposed=True)): "product",
    (Convolution(64, 64, 128, 16, 4, 2, transposed=True)): "off",
    (Convolution(64, 256, 256, 4, 9, padding=4)): "off",  # windows would be copies of each pixel 81 times
    (Convolution(64, 64, 32, 4, 3)): "off",
    (Convolution(64, 64, 64, 4, 1, padding=0)): "off",
}
"""What a processor with AVX-512 and bfloat16 takes for a convolution, as far as it was measured."""


@pytest.mark.parametrize(("one", "expected"), TAKEN.items())
def test_a_product_is_taken_for_shapes_that_gain(one: Convolution, expected: str) -> None:
    image = torch.empty(one.number, one.into, one.size, one.size, device="meta")
    shape = (one.into, one.out) if one.transposed else (one.out, one.into)
    maps = one(image, torch.empty(*shape, one.kernel, one.kernel, device="meta"))
    small, large = (image, maps) if one.transposed else (maps, image)
    geometry = Geometry((one.kernel,) * 2, (one.stride,) * 2, (one.padding,) * 2)
    assert gradients.way_of_weight(small.shape, large.shape, geometry, "product") == expected
    assert gradients.way_of_weight(small.shape, large.shape, geometry, "off") == "off"


def test_tall_maps_are_the_librarys() -> None:
    geometry = Geometry((3, 3), (1, 1), (1, 1))
    assert gradients.way_of_weight((8, 64, 64, 4), (8, 64, 64, 4), geometry, "product") == "off"


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


def test_a_product_takes_any_batch_and_layout(calls: list[Arguments]) -> None:
    one = Convolution(7, 96, 64, 4, 3)
    grad, images, weight = one.operands()
    truth = one.gradients(grad.double(), images.double(), weight.double())[1]
    for layout in (torch.contiguous_format, torch.channels_last):
        with overridden("product"):
            ours = one.gradients(*(each.contiguous(memory_format=layout) for each in (grad, images, weight)))[1]
        assert float((ours.double() - truth).norm() / truth.norm()) < ROUNDING
    with overridden("product"):
        # A gradient that was expanded, as a sum's is, and every second image of a batch.
        views = one.gradients(grad[:1, :, :1, :1].expand_as(grad), images.repeat(2, 1, 1, 1)[::2], weight)[1]
        dense = one.gradients(grad[:1, :, :1, :1].repeat(7, 1, 4, 4), images.repeat(2, 1, 1, 1)[::2].clone(), weight)[1]
    assert torch.equal(views, dense)
    assert all(not of.output_mask[1] for of in calls)


@pytest.mark.parametrize("way", WAYS)
def test_autocast_hands_over_what_it_has_cast_and_float32_stays_the_librarys(way: Any, calls: list[Arguments]) -> None:
    one = SMALL_MAPS["3 x 3 on 4 x 4"]
    _, images, weight = one.operands(torch.float32)
    module = torch.nn.Conv2d(64, 96, 3, padding=1)
    module.weight.data.copy_(weight)

    def gradient() -> Tensor:
        module.zero_grad()
        with torch.autocast("cpu", LOW):
            loss = module(images).square().mean()
        loss.backward()
        assert module.weight.grad is not None
        return module.weight.grad.clone()

    plain = gradient()
    with overridden(way):
        ours = gradient()
        assert all(of.output_mask[1] == (way == "fold") for of in calls)
        calls.clear()
        module(images).square().mean().backward()
        assert [tuple(of.output_mask) for of in calls] == [(False, True, True)]
    assert not torch.equal(ours, plain)
    assert float((ours - plain).norm() / plain.norm()) < ROUNDING


def test_parameters_in_bfloat16_are_computed_in_the_way_too(calls: list[Arguments]) -> None:
    module = torch.nn.Conv2d(64, 64, 3, padding=1).to(LOW)
    with overridden("product"):
        module(torch.randn(4, 64, 4, 4, dtype=LOW)).sum().backward()
    assert calls == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("one", SMALL_MAPS.values(), ids=SMALL_MAPS)
def test_deterministic_algorithms_have_the_same_bits(way: Any, one: Convolution) -> None:
    operands = one.operands()
    with overridden(way):
        plain = one.gradients(*operands)
        torch.use_deterministic_algorithms(True)
        try:
            strict = one.gradients(*operands)
        finally:
            torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(strict, plain, strict=True))


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
