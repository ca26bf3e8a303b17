"""Budgets of perturbations, on the [0, 1] scale of pixels, and perturbations that images of eight bits carry exactly.

A perturbation of budget 10/255 changes each pixel by at most 10 of 255 levels (``linf``), or by 10 levels in root mean square
(``l2``). Papers give l_2 budgets as Euclidean norms, which mean another strength at every resolution; the norm of a
perturbation (C, H, W) at the edge of the l_2 budget epsilon is ``epsilon * sqrt(C * H * W)``.

Sources: arXiv:1610.08401 (universal perturbations, l_2 and l_inf), arXiv:1712.02328 and OpenReview:yEnaS6yOkxy (l_inf, 10/255).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal, get_args

import torch
from torch import Tensor

import gancore

Norm = Literal["linf", "l2"]
"""``linf``: the largest absolute value. ``l2``: the root mean square over all C * H * W values."""

LEVELS = 255
"""Steps between the least and the greatest value of a pixel of eight bits."""

TOLERANCE = 1e-4
"""In levels: what is missing to a whole level by no more than this is rounding, such as that of 10/255 in float32."""


def check_norm(norm: str, where: str) -> None:
    """Refuse a norm that there is not.

    Args:
        norm: Its name.
        where: Begins the message.

    Raises:
        GancoreError: It is neither ``linf`` nor ``l2``.
    """
    if norm not in get_args(Norm):
        raise gancore.GancoreError(f"{where}: there is no norm {norm!r} of a perturbation; choose linf or l2.")


def check_epsilon(epsilon: float, where: str, norm: Norm = "linf") -> None:
    """Refuse a budget that makes no sense on the [0, 1] scale of pixels.

    Args:
        epsilon: The budget.
        where: Begins the message.
        norm: Of the budget.

    Raises:
        GancoreError: It is outside (0, 1], or allows no whole level in the maximum norm.
    """
    if not 0 < epsilon <= 1:
        raise gancore.GancoreError(
            f"{where}: epsilon = {epsilon:g} is no budget on the [0, 1] scale of pixels, on which it lies above 0 and is at "
            "most 1; write 10 of 255 levels as 10/255 = 0.0392157."
        )
    if norm == "linf" and budget_in_levels(epsilon) < 1:
        raise gancore.GancoreError(
            f"{where}: epsilon = {epsilon:g} is below 1/255 = {1 / LEVELS:.6f}, so that no image of eight bits can carry the "
            "perturbation; choose 1/255 or more."
        )


def budget_in_levels(epsilon: float) -> Fraction:
    """Return ``255 * epsilon`` exactly; the nearest whole number where no more than rounding is between them.

    Args:
        epsilon: The budget, on the [0, 1] scale.
    """
    exact = Fraction(epsilon) * LEVELS
    return Fraction(round(exact)) if abs(exact - round(exact)) <= TOLERANCE else exact


def size(delta: Tensor, norm: Norm) -> Tensor:
    """Return the size of a perturbation.

    Args:
        delta: Perturbation (C, H, W) or (1, C, H, W), in units of the [0, 1] scale.
        norm: ``linf`` or ``l2`` (the root mean square).

    Returns:
        The size, 0-d, in the same units; its gradient is finite everywhere, also at zero.

    Raises:
        GancoreError: The shape is another.
    """
    _check_shape(delta)
    if norm == "linf":
        return delta.abs().amax()
    # Row by row: float32 sums of the squares of a whole image may be wrong in the fifth digit.
    length: Tensor = torch.linalg.vector_norm(torch.linalg.vector_norm(delta, dim=-1))
    return length / math.sqrt(delta.numel())


def project(delta: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """Return the nearest perturbation within a budget, to float rounding; gradients flow through it.

    Args:
        delta: Perturbation (C, H, W) or (1, C, H, W), in units of the [0, 1] scale.
        epsilon: The budget, above 0.
        norm: ``linf`` clamps each value, ``l2`` scales down what is outside.

    Returns:
        The perturbation, of the same shape. Inside the budget it is the same and its gradient the identity.

    Raises:
        GancoreError: The shape is another.
    """
    _check_shape(delta)
    if norm == "linf":
        return delta.clamp(-epsilon, epsilon)
    # Clamped from below, the factor is exactly 1 inside, and there is no division by zero at its center.
    return delta * (epsilon / size(delta, norm).clamp(min=epsilon))


def whole_levels(delta: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """Return a perturbation in whole levels of images of eight bits, within a budget.

    Values are projected and rounded toward zero, so that the budget is never left, also in exact integer arithmetic; what is
    within a ten-thousandth of a level of a whole one counts as whole, so that 10/255 in float32 stays 10 levels. Rounding
    twice changes nothing more.

    Args:
        delta: Perturbation (C, H, W) or (1, C, H, W), finite, in units of the [0, 1] scale.
        epsilon: The budget, above 0.
        norm: Of the budget.

    Returns:
        The perturbation, of the same shape, float32, without a graph: whole multiples of 1/255 from -1 to 1.

    Raises:
        GancoreError: The shape is another, or a value is not finite.
    """
    _check_finite(delta)
    values = delta.detach().to("cpu", torch.float64)
    budget = budget_in_levels(epsilon)
    values = (project(values, epsilon, norm) * LEVELS).clamp(-LEVELS, LEVELS)
    levels = _toward_zero(values)
    if norm == "linf":
        # The tolerance may have lifted values to a level that the budget just lacks.
        levels = levels.clamp(-math.floor(budget), math.floor(budget))
    else:
        # As above, for all values together: nearly always already within.
        while not _within(levels, budget, norm):
            values = values * (1 - 1e-5)
            levels = _toward_zero(values)
    return from_levels(levels).to(delta.device)


def to_levels(delta: Tensor) -> Tensor:
    """Return a perturbation as whole numbers of levels, the nearest ones.

    Args:
        delta: Perturbation, of any shape, finite, in units of the [0, 1] scale.

    Returns:
        Levels of the same shape, int16, from -255 to 255: no stronger change can be seen in an image.
    """
    return (delta.detach().float() * LEVELS).round().clamp(-LEVELS, LEVELS).to(torch.int16)


def from_levels(levels: Tensor) -> Tensor:
    """Return whole numbers of levels as a perturbation, float32, in units of the [0, 1] scale.

    Args:
        levels: Levels of any shape, of any type.
    """
    # By way of integers, which know no negative zero.
    return (levels.to(torch.int64).double() / LEVELS).float()


def fits(delta: Tensor, epsilon: float, norm: Norm) -> bool:
    """Return whether a perturbation in whole levels is within a budget, decided in exact arithmetic.

    Args:
        delta: Perturbation (C, H, W) or (1, C, H, W), finite, in units of the [0, 1] scale.
        epsilon: The budget.
        norm: Of the budget.

    Raises:
        GancoreError: The shape is another, or a value is not finite.
    """
    _check_finite(delta)
    return _within((delta.detach().to("cpu", torch.float64) * LEVELS).round(), budget_in_levels(epsilon), norm)


def apply_to_8bit(images: Tensor, delta: Tensor) -> Tensor:
    """Return images of eight bits with a perturbation added, as a saved file would hold them: clipped to 0 and 255.

    Args:
        images: Images (N, C, H, W) uint8.
        delta: Perturbation (C, H, W) or (1, C, H, W), finite, in units of the [0, 1] scale; rounded to the nearest level.

    Returns:
        Images (N, C, H, W) uint8, where `images` are.

    Raises:
        GancoreError: The images are no bytes, a shape does not fit, or the perturbation is not finite.
    """
    _check_finite(delta)
    if images.dtype != torch.uint8:
        raise gancore.GancoreError(
            f"a perturbation is added to images of eight bits, and these are {str(images.dtype).removeprefix('torch.')}; "
            "convert them with gancore.tools.to_uint8."
        )
    plain = delta[0] if delta.ndim == 4 else delta
    if images.ndim != 4 or images.shape[1:] != plain.shape:
        raise gancore.GancoreError(
            f"a perturbation {_shape(plain)} does not fit images {_shape(images)}; use images (N, C, H, W) of its size."
        )
    return (images.to(torch.int16) + to_levels(plain).to(images.device)).clamp_(0, 255).to(torch.uint8)


def _toward_zero(values: Tensor) -> Tensor:
    return (values.abs() + TOLERANCE).floor() * values.sign()


def _within(levels: Tensor, budget: Fraction, norm: Norm) -> bool:
    """Return whether whole levels keep to a budget in levels; int64 and fractions know no rounding."""
    whole = levels.to(torch.int64)
    if norm == "linf":
        return int(whole.abs().max()) <= budget
    return int(whole.square().sum()) <= budget**2 * whole.numel()


def _check_shape(delta: Tensor) -> None:
    if delta.ndim not in (3, 4) or (delta.ndim == 4 and delta.shape[0] != 1) or not delta.numel():
        raise gancore.GancoreError(
            f"a perturbation has the shape (C, H, W) or (1, C, H, W), and this one has {_shape(delta)}; "
            "give the one perturbation of all images."
        )


def _check_finite(delta: Tensor) -> None:
    _check_shape(delta)
    if not bool(delta.isfinite().all()):
        raise gancore.GancoreError(
            "a perturbation is not finite everywhere, so that no image can carry it; craft it with a smaller learning rate."
        )


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
