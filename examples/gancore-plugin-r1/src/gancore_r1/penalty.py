"""The R1 gradient penalty."""

import torch
from torch import Tensor

import gancore


class R1(gancore.LossTerm):
    """R1 gradient penalty on real images (Mescheder et al. 2018, Eq. 9).

    Args:
        gamma: Strength.
    """

    differentiates = frozenset({"real_view"})

    def __init__(self, *, gamma: float = 10.0) -> None:
        super().__init__()
        self.gamma = gamma

    def discriminator(self, *, real_view: Tensor, real_adversarial: Tensor) -> Tensor:
        """Return gamma / 2 times the mean squared norm of D's gradient, from images (N, C, H, W) and logits (N,)."""
        (grad,) = torch.autograd.grad(real_adversarial.sum(), real_view, create_graph=True)
        return self.gamma / 2 * grad.square().sum((1, 2, 3)).mean()
