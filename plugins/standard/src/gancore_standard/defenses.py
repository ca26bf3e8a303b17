"""Defenses: what stands in front of a classifier that is attacked, and how it looks to the attacker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import Tensor

from gancore import Defense, GancoreError, Range
from gancore.tools import check

if TYPE_CHECKING:
    from gancore.tools import Run

Classify = Callable[[Tensor], Tensor]
"""Maps images (N, C, H, W) in [-1, 1] to logits (N, K)."""

Sees = Literal["bare", "substitute", "through"]


class BitDepth(Defense):
    """Rounds pixels to few levels, so that small perturbations are lost.

    Xu et al. 2018, "Feature Squeezing" (arXiv:1704.01155), section 3.1. Rounding has no gradient but 0, so an attacker who sees
    ``through`` it is misled; by default it sees a substitute, rounding with the gradient of doing nothing.

    Args:
        bits: Bits of a channel; 1 leaves black and white.
        sees: What the attacker sees: ``bare``, the classifier alone, ``substitute``, or ``through`` the rounding.
    """

    def __init__(self, *, bits: Annotated[int, Range(1, 8)] = 3, sees: Sees = "substitute") -> None:
        super().__init__()
        self.levels = 2**bits - 1
        self.sees = sees

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1] of as many levels."""
        rounded: Tensor = ((x.clamp(-1, 1) + 1) / 2 * self.levels).round() / self.levels * 2 - 1
        return rounded


def build_defense(run: Run, name: str, settings: Mapping[str, Any], *, where: str) -> Defense:
    """Return a defense of a run's classifier, prepared.

    Args:
        run: The run.
        name: Name of the defense component.
        settings: Its settings.
        where: Names the place for errors.

    Raises:
        GancoreError: There is no such defense, a setting is wrong, or it can't defend this run.
    """
    declared = run.plan.registry.component("defense", name, where=where)
    cls = run.plan.registry.load(declared)
    where = f"{where} ({declared.full_name})"
    arguments = check(cls, dict(settings), where=where, context=dict(run.parts.context()))
    try:
        defense: Defense = cls(**arguments)
        defense.to(run.device).eval()
        defense.prepare(run)
    except GancoreError as error:
        raise GancoreError(f"{where}: {error}") from error
    return defense


def defended(classify: Classify, defense: Defense | None, noise: torch.Generator) -> Classify:
    """Return a classifier behind a defense, if there is one: what is to be fooled."""
    if defense is None:
        return classify
    guard = defense

    def judge(x: Tensor) -> Tensor:
        return classify(_checked(guard, x, guard.defend(x, noise)))

    return judge


def seen(classify: Classify, defense: Defense | None, noise: torch.Generator) -> Classify:
    """Return what the attacker sees of a classifier behind a defense, if there is one."""
    if defense is None or defense.sees == "bare":
        return classify
    guard = defense

    def view(x: Tensor) -> Tensor:
        images = guard.substitute(x, noise) if guard.sees == "substitute" else guard.defend(x, noise)
        if torch.is_grad_enabled() and x.requires_grad and not images.requires_grad:
            raise GancoreError(
                f"{type(guard).__name__} passes no gradient to an attacker who sees {guard.sees!r}; let it see a substitute, "
                "or the bare classifier (sees)."
            )
        return classify(_checked(guard, x, images))

    return view


def _checked(defense: Defense, x: Tensor, images: Tensor) -> Tensor:
    if images.shape != x.shape:
        raise GancoreError(
            f"{type(defense).__name__} makes images of shape {tuple(images.shape)} of {tuple(x.shape)}; it must keep the shape."
        )
    return images
