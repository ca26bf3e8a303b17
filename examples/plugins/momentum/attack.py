"""Momentum PGD (Dong et al. 2018, "Boosting Adversarial Attacks with Momentum", Algorithm 1)."""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

import gancore


class MomentumPGD(gancore.Attack):
    """Steps along the sign of a sum of normalized gradients, within a box around each image (arXiv:1710.06081, Algorithm 1).

    Args:
        epsilon: Half the side of the box, on the [-1, 1] scale.
        steps: Number of steps, each of `epsilon` divided by it.
        momentum: Share of the gradients' sum that each step keeps.
    """

    def __init__(
        self,
        *,
        epsilon: Annotated[float, gancore.Range(0)] = 0.03125,
        steps: Annotated[int, gancore.Range(1)] = 5,
        momentum: Annotated[float, gancore.Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.epsilon, self.steps, self.momentum = epsilon, steps, momentum

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1] that raise the objective; they start at `x`, so nothing is drawn."""
        adversarial, total = x.detach(), torch.zeros_like(x)
        for _ in range(self.steps):
            leaf = adversarial.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(objective(leaf).sum(), leaf)
            size = gradient.abs().sum((1, 2, 3), keepdim=True).clamp(min=1e-12)
            total = self.momentum * total + gradient / size
            adversarial = adversarial + self.epsilon / self.steps * total.sign()
            adversarial = torch.clamp(adversarial, x - self.epsilon, x + self.epsilon).clamp(-1, 1).detach()
        return adversarial
