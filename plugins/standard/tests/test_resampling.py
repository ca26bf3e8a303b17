"""A convolution of doubled or halved images is what the two steps are, in value and gradient, for far fewer products."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from gancore_standard.networks.layers import doubled, halved, spectral
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

Steps = Callable[[nn.Conv2d, Tensor], Tensor]
BOTH: list[tuple[Steps, Steps]] = [
    (halved, lambda convolution, x: F.avg_pool2d(convolution(x), 2)),
    (doubled, lambda convolution, x: convolution(F.interpolate(x, scale_factor=2.0))),
]


def convolution_and_input(bias: bool = True, norm: bool = False) -> tuple[nn.Conv2d, Tensor]:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 5, 3, padding=1, bias=bias)
    spectral(convolution, norm)
    convolution = convolution.double().to(memory_format=torch.channels_last)
    return convolution, torch.randn(2, 3, 6, 4, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("one", "two"), BOTH)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("norm", [False, True])
def test_one_step_equals_two_in_value_and_gradient(one: Steps, two: Steps, bias: bool, norm: bool) -> None:
    convolution, x = convolution_and_input(bias, norm)
    convolution.eval()
    wanted = [x, *convolution.parameters()]
    results = []
    for step in (one, two):
        y = step(convolution, x)
        weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
        results.append([y, *torch.autograd.grad((weights * y).sum() + y.square().sum(), wanted)])
    assert results[0][0].shape == results[1][0].shape
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("one", [halved, doubled])
def test_second_derivatives_are_right(one: Steps) -> None:
    convolution, _ = convolution_and_input(bias=False)
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64, requires_grad=True)

    def penalty(x: Tensor, weight: Tensor) -> Tensor:
        held = nn.Conv2d(3, 5, 3, padding=1, bias=False)
        del held.weight
        held.weight = weight  # type: ignore[assignment]
        (grad,) = torch.autograd.grad(one(held, x).square().sum(), x, create_graph=True)
        return grad.square().sum()

    assert torch.autograd.gradcheck(penalty, (x, convolution.weight.detach().requires_grad_()))


@pytest.mark.parametrize(("one", "two"), BOTH)
def test_one_step_takes_less_than_half_of_the_products_of_two(one: Steps, two: Steps) -> None:
    convolution = nn.Conv2d(32, 32, 3, padding=1)
    counts = []
    for step in (one, two):
        with FlopCounterMode(display=False) as counter:
            step(convolution, torch.randn(8, 32, 16, 16))
        counts.append(counter.get_total_flops())
    assert counts[0] < 0.5 * counts[1]


@pytest.mark.parametrize("one", [halved, doubled])
def test_the_kernel_is_made_in_full_precision_under_autocast(one: Steps) -> None:
    torch.manual_seed(0)
    convolution, x = nn.Conv2d(16, 16, 3, padding=1), torch.randn(2, 16, 8, 8)
    exact = one(convolution, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = one(convolution, x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), exact, rtol=0.02, atol=0.02)
