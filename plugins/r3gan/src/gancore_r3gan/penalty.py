"""The two gradient penalties that let the relativistic game converge."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

import gancore


class Penalty(gancore.LossTerm):
    """R1 on real and R2 on generated images, centered at 0 (R3GAN, arXiv:2501.05441, section 2; Mescheder et al. 2018).

    L_D gets (E ||grad D(x)||^2 + E ||grad D(G(z))||^2) / 2, with gradients with respect to what D sees; ``weight`` is gamma.
    """

    differentiates: ClassVar[frozenset[str]] = frozenset({"real_view", "fake_view"})
    groups: ClassVar[bool] = True

    def discriminator(
        self, *, real_view: Tensor, real_adversarial: Tensor, fake_view: Tensor, fake_adversarial: Tensor
    ) -> Tensor:
        """Return the scalar penalty for images (N, C, H, W), or (N, k, C, H, W), and the logits (N,) of them."""
        # One backward for both sides: a logit depends on its own image alone.
        logits = real_adversarial.sum() + fake_adversarial.sum()
        gradients = torch.autograd.grad(logits, (real_view, fake_view), create_graph=True)
        real, fake = (gradient.float().flatten(1).square().sum(1).mean() for gradient in gradients)
        return (real + fake) / 2
