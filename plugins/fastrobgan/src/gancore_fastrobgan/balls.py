"""Norm balls: how a perturbation starts, moves, and is kept within its budget."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

import gancore
from gancore import GancoreError

Norm = Literal["linf", "l2"]
WIDTH = 2.0
"""Width of the range [-1, 1] of a pixel."""


def check_budget(epsilon: float, norm: Norm, what: str) -> None:
    """Refuse a budget that the image range [-1, 1] can't hold; how long a Euclidean one may be depends on the image's size.

    Raises:
        GancoreError: `epsilon` is negative or not finite, or above 2 where the norm is l_inf.
    """
    if norm == "l2" and not (epsilon >= 0 and math.isfinite(epsilon)):
        raise GancoreError(f"{what} has epsilon = {epsilon}; the radius of a ball of l2 must be 0 or more, and finite.")
    if norm == "linf" and not 0 <= epsilon <= WIDTH:
        raise GancoreError(
            f"{what} has epsilon = {epsilon}; images are in [-1, 1], so it must be from 0 to {WIDTH:g} (8/255 of the pixel "
            "range is 0.0627 here)."
        )


def norms(delta: Tensor) -> Tensor:
    """Return the Euclidean norm of each perturbation (N, C, H, W), as (N, 1, 1, 1)."""
    length: Tensor = torch.linalg.vector_norm(delta.flatten(1), dim=1)
    return length.view(-1, 1, 1, 1)


def random_start(x: Tensor, epsilon: float, norm: Norm, noise: torch.Generator) -> Tensor:
    """Return perturbations (N, C, H, W), uniform in the ball around each image of `x`."""
    if norm == "linf":
        return (gancore.rand(x.shape, noise, dtype=x.dtype) * 2 - 1) * epsilon
    direction = gancore.randn(x.shape, noise, dtype=x.dtype)
    radius = gancore.rand((len(x), 1, 1, 1), noise, dtype=x.dtype)
    return epsilon * radius ** (1 / max(1, x[0].numel())) * direction / norms(direction).clamp_min(1e-12)


def ascent(grad: Tensor, norm: Norm) -> Tensor:
    """Return the steepest direction of length 1 in the norm, for each gradient (N, C, H, W); 0 where the gradient is 0."""
    return grad.sign() if norm == "linf" else grad / norms(grad).clamp_min(torch.finfo(grad.dtype).tiny)


def project(delta: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """Return the nearest perturbations (N, C, H, W) within the ball."""
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    return delta * (epsilon / norms(delta).clamp_min(torch.finfo(delta.dtype).tiny)).clamp_max(1)
