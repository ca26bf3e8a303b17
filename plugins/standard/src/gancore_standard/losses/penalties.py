"""Gradient penalties, which keep a critic Lipschitz."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gancore import LossTerm, Range, global_mean, rand


class GradientPenalty(LossTerm):
    """Gradient penalty between real and generated images: WGAN-GP, and one-sided WGAN-LP.

    WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028, Eq. 3): E (||grad D(x^)||_2 - 1)^2 at x^ = x + e (G(z) - x), e ~ U(0, 1)
    per image. WGAN-LP (Petzka et al. 2018, arXiv:1709.08894): E max(0, ||grad D(x^)||_2 - 1)^2. The norm is taken over
    all of an image's values, or of a sample's where samples are groups of images, without an epsilon. Both papers multiply by
    10 for images; that is the recipe's ``weight``.

    WGAN-LP's second choice of x^ lies around the images, as that of DRAGAN (Kodali et al. 2017, arXiv:1705.07215), but around
    generated ones too: x^ = s + scale * std(s) * e u, where s is the real or, as often, the generated image, std(s) the
    deviation of all values of the batch of its side, e ~ U(0, 1) per image and u ~ U(0, 1) per value.

    Args:
        one_sided: Punish only gradients longer than `center` (WGAN-LP).
        center: The length that costs nothing.
        points: Whether x^ lies between a real and a generated image, or around one of the two.
        scale: How far around, in standard deviations; the authors' 1.
    """

    differentiates: ClassVar[frozenset[str]] = frozenset({"mixed_view"})
    extra_views: ClassVar[Mapping[str, str]] = {"mixed": "interpolate"}
    groups: ClassVar[bool] = True

    def __init__(
        self,
        *,
        one_sided: bool = False,
        center: Annotated[float, Range(0)] = 1.0,
        points: Literal["between", "around"] = "between",
        scale: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        self.one_sided = one_sided
        self.center = center
        self.around = points == "around"
        self.scale = scale

    def interpolate(self, *, real_view: Tensor, fake_view: Tensor, noise: torch.Generator) -> Tensor:
        """Return a random point (N, C, H, W) between each real image and the generated one at its place, or around either."""
        shape = (real_view.shape[0],) + (1,) * (real_view.ndim - 1)
        share = rand(shape, noise, dtype=real_view.dtype)
        if not self.around:
            return real_view + share * (fake_view - real_view)
        direction = rand(real_view.shape, noise, dtype=real_view.dtype)
        # Whose image it is, is drawn for each: the mean of both sides' penalties, for one forward of the critic.
        is_real = rand(shape, noise, dtype=real_view.dtype) < 0.5
        deviations = torch.where(is_real, _deviation(real_view), _deviation(fake_view))
        return torch.where(is_real, real_view, fake_view) + self.scale * deviations * share * direction

    def discriminator(self, *, mixed_view: Tensor, mixed_adversarial: Tensor) -> Tensor:
        """Return the scalar penalty; `mixed_adversarial` (N,) must have been computed from `mixed_view` (N, C, H, W)."""
        (gradient,) = torch.autograd.grad(mixed_adversarial.sum(), mixed_view, create_graph=True)
        # vector_norm's derivative at 0 is 0, where that of a written-out square root is not a number.
        excess: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1) - self.center
        if self.one_sided:
            excess = F.relu(excess)
        return excess.square().mean()


def _deviation(view: Tensor) -> Tensor:
    """Return the standard deviation of all values of the batch of all processes, a scalar."""
    mean, square = global_mean(torch.stack([view.mean(), view.square().mean()])).unbind()
    return (square - mean.square()).clamp_min(0).sqrt()
