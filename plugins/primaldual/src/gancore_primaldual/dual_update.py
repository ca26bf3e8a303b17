"""The generated density as the dual variable of a convex problem, whose update the generator follows."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore


class DualUpdate(gancore.LossTerm):
    """Moves the generated density at real images as a dual variable (Chen et al. 2018, arXiv:1802.01765, Algorithm 1).

    The game is a Lagrangian of D(x) at each x (primal) and the generated density p_g(x) (dual). A subgradient step on the dual
    takes p_g to p~ = p_g - step f1(D(x)), with f1(D) = log(2 (1 - D)) of the original game: where D is sure that x is real, the
    density shall rise. Beside the game's own loss the generator gets E_x (p~(x) - p_g(x))^2, with p~ fixed, over the batch's
    real images, and p_g(x) = E_z k(G(z) - x), k(d) = exp(-||d||^2 / (2 bandwidth^2)) over the generated ones.

    The logit must be that of the original game (`standard/minimax`, `standard/non-saturating`), whose sigmoid is D. The kernel
    is not normalized: its constant would be a factor of `step`.

    Args:
        bandwidth: sigma of the kernel, on the [-1, 1] scale of the images, as a distance between whole images.
        step: alpha, the step on the density. As p~ follows p_g, it and the recipe's `weight` are one factor of the gradient.
    """

    mean_over_images: ClassVar[bool] = False
    groups: ClassVar[bool] = True

    def __init__(
        self,
        *,
        bandwidth: Annotated[float, gancore.Range(1e-6)],
        step: Annotated[float, gancore.Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        self.step = step

    def density(self, points: Tensor, generated: Tensor) -> Tensor:
        """Return p_g (N,) at points (N, F), of generated ones (M, F)."""
        # Of points that lie together, the faster way by products loses the distance in rounding.
        distance = torch.cdist(points, generated, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.exp(-distance.square() / (2 * self.bandwidth**2)).mean(1)

    def generator(self, *, real_view: Tensor, real_adversarial: Tensor, fake_view: Tensor) -> Tensor:
        """Return the scalar loss of images (N, C, H, W) and (M, C, H, W) and logits (N,)."""
        # The loss is not linear in the generated images, so every process computes that of the whole batch.
        density = self.density(gancore.gather(real_view.flatten(1)), gancore.gather(fake_view.flatten(1)))
        constraint = math.log(2) - F.softplus(gancore.gather(real_adversarial))
        target = (density - self.step * constraint).detach()
        return (target - density).square().mean()
