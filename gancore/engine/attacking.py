"""The attack's part of a phase: images perturbed before the player sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from gancore.engine.forwards import discriminate
from gancore.engine.parts import Parts
from gancore.engine.players import Player
from gancore.engine.values import Values
from gancore.plan import DISCRIMINATOR, Forward, PhasePlan, attacked_method


class Steps(Protocol):
    """What an attack needs of the phase that it is in."""

    run: Any
    plan: PhasePlan
    parts: Parts
    player: Player
    terms: dict[str, Any]
    needs: dict[str, Any]

    def seen(self, values: Values, side: str) -> Tensor:
        """Return the images of a side with those that are joined to it."""

    def view(self, images: Tensor, side: str, values: Values) -> Tensor:
        """Return what the discriminator sees of a side's images."""

    def arguments(self, label: str, method: str, values: Values) -> dict[str, Any]:
        """Return what a method of a term asks for."""

    def noise(self, *purpose: str) -> torch.Generator:
        """Return a random stream."""


def attack_sides(phase: Steps, values: Values) -> tuple[dict[str, Tensor], Tensor | None]:
    """Return what the player sees of the attacked sides, and the leaf that a shared gradient is wanted on."""
    attack = phase.parts.attack
    assert attack is not None
    if attack.gradient == "shared":
        real = values.images["real"]
        with torch.no_grad():
            leaf = attack.perturb(real)
        # A perturbation of nothing may hand back the batch itself, which must not become a leaf.
        leaf = (leaf.clone() if leaf is real else leaf.detach()).requires_grad_()
        return {"real": leaf}, leaf
    perturbed = {}
    phase.player.train(False)
    try:
        with parametrize.cached(), torch.enable_grad():
            for side in phase.plan.attacked:
                purpose = ("attack",) if side == "real" else ("attack", side)
                images = attack.craft(phase.seen(values, side), _objective(phase, values, side), phase.noise(*purpose))
                perturbed[side] = images.detach()
    finally:
        phase.player.train()
    return perturbed, None


def _objective(phase: Steps, values: Values, side: str) -> Callable[[Tensor], Tensor]:
    """Return what an attack on a side raises: the weighted sum of the terms' ``attacked``, one value per image."""
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
        discriminate(phase.parts, own, Forward((other,), grad=False, heads=heads[other], activations=False))

    def objective(x: Tensor) -> Tensor:
        with phase.run.autocast():
            if phase.plan.player == DISCRIMINATOR:
                own.view[side] = phase.view(x, side, own)
                discriminate(phase.parts, own, Forward((side,), grad=True, heads=heads[side], activations=False))
            else:
                own.network[phase.plan.player, side] = phase.parts.networks[phase.plan.player](x).float()
        total = torch.zeros(len(x), device=x.device)
        for label in terms:
            raised = getattr(phase.terms[label], method)(**phase.arguments(label, method, own))
            total = total + phase.parts.weights[label] * raised
        return total

    return objective
