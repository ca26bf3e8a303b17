"""Constraints that make a Wasserstein-like objective the Sobolev or the Fisher distance of two distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

import gancore
from gancore_sobolevgan.multipliers import Multiplier, Rho, both_halves, squared_gradient


class Constraint(gancore.LossTerm):
    """A constraint on the critic; its loss returns the violation c too, by which the multiplier goes on.

    Args:
        rho: Of the augmented Lagrangian lambda c + rho / 2 c^2; lambda starts at 0 and takes the step rho c in each turn.
    """

    mean_over_images: ClassVar[bool] = False
    groups: ClassVar[bool] = True

    def __init__(self, *, rho: Rho = 1e-6) -> None:
        super().__init__()
        self.multiplier = Multiplier(rho)

    def lagrangian(self, violation: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of a violation, a scalar, and the violation for `observe`."""
        return self.multiplier(violation), {"violation": violation}

    def observe(self, *, violation: Tensor) -> None:
        """Take the multiplier's step."""
        self.multiplier.update(violation)

    def monitor(self) -> dict[str, Tensor]:
        """Return the multiplier, for the log."""
        return {"multiplier": self.multiplier.value}


class Sobolev(Constraint):
    """E_mu ||grad f||^2 = 1 (Mroueh et al. 2018, arXiv:1711.04894): a Sobolev ball under the dominant measure mu.

    f is the critic's logit and mu = (P + Q) / 2, half real and half generated images. Beside `standard/wasserstein`, whose
    objective is E_P f - E_Q f, this is Sobolev GAN. The constraint is on the mean, where WGAN-GP's is on each image.

    Args:
        rho: Of the augmented Lagrangian lambda c + rho / 2 c^2; lambda starts at 0 and takes the step rho c in each turn.
    """

    differentiates: ClassVar[frozenset[str]] = frozenset({"real_view", "fake_view"})

    def discriminator(
        self, *, real_view: Tensor, fake_view: Tensor, real_adversarial: Tensor, fake_adversarial: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss; logits (N,) must have been computed from the views (N, C, H, W)."""
        real, fake = squared_gradient(real_adversarial, real_view), squared_gradient(fake_adversarial, fake_view)
        return self.lagrangian(both_halves(real, fake))


class SobolevBetween(Constraint):
    """The same constraint under the measure of WGAN-GP: mu is a real image, blended at random with a generated one.

    Mroueh et al. 2018 (arXiv:1711.04894) call it mu_GP.

    Args:
        rho: Of the augmented Lagrangian lambda c + rho / 2 c^2; lambda starts at 0 and takes the step rho c in each turn.
    """

    differentiates: ClassVar[frozenset[str]] = frozenset({"mixed_view"})
    extra_views: ClassVar[Mapping[str, str]] = {"mixed": "interpolate"}

    def interpolate(self, *, real_view: Tensor, fake_view: Tensor, noise: torch.Generator) -> Tensor:
        """Return a random point (N, C, H, W) between each real image and the generated one at its place."""
        share = gancore.rand((len(real_view),) + (1,) * (real_view.ndim - 1), noise, dtype=real_view.dtype)
        return torch.lerp(real_view, fake_view, share)

    def discriminator(self, *, mixed_view: Tensor, mixed_adversarial: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss; logits (N,) must have been computed from the views (N, C, H, W)."""
        squares = squared_gradient(mixed_adversarial, mixed_view)
        return self.lagrangian(both_halves(squares, squares))


class Fisher(Constraint):
    """E_mu f^2 = 1 with mu = (P + Q) / 2 (Mroueh and Sercu 2017, arXiv:1705.09675), for the critic's logit f.

    Args:
        rho: Of the augmented Lagrangian lambda c + rho / 2 c^2; lambda starts at 0 and takes the step rho c in each turn.
    """

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar loss of logits (N,)."""
        return self.lagrangian(both_halves(real_adversarial.square(), fake_adversarial.square()))
