"""The objective of Coulomb GANs: a field of potentials, which the discriminator learns by regression."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor

import gancore

MOST_DIGITS = 15
"""Of the kernel's largest value: what the loss squares must be a float."""


def plummer(a: Tensor, b: Tensor, dimension: float, epsilon: float) -> Tensor:
    """Return the Plummer kernel (N, M) of rows (N, F) and (M, F): (||a - b||^2 + epsilon^2)^(-(dimension - 2) / 2)."""
    # Of points that lie together, the faster way by products loses the distance in rounding.
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return (distance.square() + epsilon**2).pow(-(dimension - 2) / 2)


class Potential(gancore.LossTerm):
    """Real images attract generated ones, which repel each other (Unterthiner et al. 2018, arXiv:1708.08819).

    The potential at a is Phi(a) = E_y k(a, y) - E_x k(a, x) over real images y and generated images x of the batch, the image a
    itself included, with k the Plummer kernel of the pixels. The discriminator's one logit learns it; the generator climbs it:
    L_D = E (D(y) - Phi(y))^2 + E (D(x) - Phi(x))^2, L_G = -E D(G(z)). An attack on real images lowers D.

    The paper has factors of 1/2 that the public code leaves out, and so do we; its code turns the sign of the field.

    Args:
        dimension: d of the public code: the kernel's exponent is d - 2, which the paper calls d.
        epsilon: Softens the kernel near 0, on the [-1, 1] scale of the images; it is at most epsilon^-(d - 2).

    Raises:
        GancoreError: That is more than a loss can hold.
    """

    mean_over_images: ClassVar[bool] = False
    groups: ClassVar[bool] = True

    def __init__(
        self,
        *,
        dimension: Annotated[float, gancore.Range(2, open_low=True)] = 3.0,
        epsilon: Annotated[float, gancore.Range(0, 1e6, open_low=True)] = 1.0,
    ) -> None:
        super().__init__()
        if (dimension - 2) * -math.log10(epsilon) > MOST_DIGITS:
            raise gancore.GancoreError(
                f"a kernel of dimension = {dimension:g} and epsilon = {epsilon:g} is above 1e{MOST_DIGITS} at an image itself, "
                "and its square no number; lower dimension, or raise epsilon."
            )
        self.dimension = dimension
        self.epsilon = epsilon

    @torch.no_grad()
    def potentials(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return Phi at real (N,) and at generated images (M,), shaped (N, ...) and (M, ...), in the field of all processes."""
        real, fake = real.flatten(1), fake.flatten(1)
        attracting, repelling = gancore.gather(real), gancore.gather(fake)
        at_real, at_fake = (self._mean(points, attracting) - self._mean(points, repelling) for points in (real, fake))
        return at_real, at_fake

    def _mean(self, points: Tensor, charges: Tensor) -> Tensor:
        return plummer(points, charges, self.dimension, self.epsilon).mean(1)

    def discriminator(
        self, *, real_view: Tensor, fake_view: Tensor, real_adversarial: Tensor, fake_adversarial: Tensor
    ) -> Tensor:
        """Return the scalar L_D of images (N, C, H, W) and logits (N,)."""
        at_real, at_fake = self.potentials(real_view, fake_view)
        return (real_adversarial - at_real).square().mean() + (fake_adversarial - at_fake).square().mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G of logits (N,)."""
        return -fake_adversarial.mean()

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        """Return -D(y) of each real image (N,)."""
        return -real_adversarial
