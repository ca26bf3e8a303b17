"""What an attack with gradients of its own raises: the weighted sum of what loss terms say of each image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gancore.engine.values import Values
from gancore.plan import DISCRIMINATOR, Forward, attacked_method


def objective(phase: Any, values: Values, side: str) -> Callable[[Tensor], Tensor]:
    """Return what an attack on a side raises in a phase: the weighted sum of the terms' ``attacked``, one value per image."""
    method = attacked_method(side)
    terms = [label for label in phase.terms if method in phase.needs[label]]
    needs = [need for label in terms for need in phase.needs[label][method]]
    own = Values(values.batch, values.images, values.label, values.joined, values.blended)
    others = sorted({need.side for need in needs if need.kind in ("head", "features")} - {side})
    heads: dict[str, dict[str, tuple[str, ...]]] = {
        seen: {need.label: (seen,) for need in needs if need.kind == "head" and need.side == seen} for seen in (side, *others)
    }
    for other in others:
        own.view[other] = phase.view(phase.seen(own, other), other, own)
        phase.discriminate(own, Forward((other,), grad=False, heads=heads[other], activations=False))

    def raised(x: Tensor) -> Tensor:
        with phase.run.autocast():
            if phase.plan.player == DISCRIMINATOR:
                own.view[side] = phase.view(x, side, own)
                phase.discriminate(own, Forward((side,), grad=True, heads=heads[side], activations=False))
            else:
                own.network[phase.plan.player, side] = phase.parts.networks[phase.plan.player](x).float()
        total = torch.zeros(len(x), device=x.device)
        for label in terms:
            value = getattr(phase.terms[label], method)(**phase.arguments(label, method, own))
            # A term that sees no joined images has nothing to raise for them.
            total = total + phase.parts.weights[label] * F.pad(value, (0, len(x) - len(value)))
        return total

    return raised
