"""Equality constraints on a critic by the method of multipliers."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

import gancore

Rho = Annotated[float, gancore.Range(0, open_low=True)]


class Multiplier(nn.Module):
    """The augmented Lagrangian of one constraint c = 0 of a player that minimizes: lambda c + rho / 2 c^2.

    Args:
        rho: Weight of the quadratic part, and the step of lambda, which starts at 0.
    """

    value: Tensor

    def __init__(self, rho: float) -> None:
        super().__init__()
        self.rho = rho
        self.register_buffer("value", torch.zeros(()))

    def forward(self, violation: Tensor) -> Tensor:
        """Return what is added to the loss, a scalar, for c, a scalar over the batch of all processes."""
        return self.value * violation + self.rho / 2 * violation.square()

    @torch.no_grad()
    def update(self, violation: Tensor) -> None:
        """Take a step: lambda + rho c."""
        self.value += self.rho * violation


def both_halves(real: Tensor, fake: Tensor) -> Tensor:
    """Return E_real / 2 + E_fake / 2 - 1 of values (N,) and (M,), over the batches of all processes: a scalar."""
    return gancore.global_mean((real.mean() + fake.mean()) / 2) - 1


def squared_gradient(values: Tensor, images: Tensor) -> Tensor:
    """Return ||grad||^2 (N,) of values (N,) with respect to the images (N, ...) that they were computed from."""
    (gradient,) = torch.autograd.grad(values.sum(), images, create_graph=True)
    return gradient.flatten(1).square().sum(1)
