"""Games, a penalty, and the losses of a class head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from gancore_testing import components
from torch import Tensor
from torch.nn import functional as F

import gancore


class Hinge(components.Hinge):
    """The hinge game, with what an attack raises."""

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        return F.relu(1 - real_adversarial)


class Minimax(components.NonSaturating):
    """The original game, whose generator loss saturates."""

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return -F.softplus(fake_adversarial).mean()


class LeastSquares(gancore.LossTerm):
    """The least-squares game."""

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        return (real_adversarial - 1).square().mean() + fake_adversarial.square().mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return (fake_adversarial - 1).square().mean()


class Relativistic(gancore.LossTerm):
    """The relativistic game of pairs."""

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        return self.attacked(real_adversarial=real_adversarial, fake_adversarial=fake_adversarial).mean()

    def generator(self, *, fake_adversarial: Tensor, real_adversarial: Tensor) -> Tensor:
        return F.softplus(real_adversarial - fake_adversarial).mean()

    def attacked(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        return F.softplus(fake_adversarial - real_adversarial)


class Wasserstein(gancore.LossTerm):
    """The Wasserstein critic."""

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        return fake_adversarial.mean() - real_adversarial.mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        return -fake_adversarial.mean()


class GradientPenalty(gancore.LossTerm):
    """WGAN-GP's penalty, at random points between real and generated images."""

    differentiates: ClassVar[frozenset[str]] = frozenset({"mixed_view"})
    extra_views: ClassVar[Mapping[str, str]] = {"mixed": "interpolate"}

    def interpolate(self, *, real_view: Tensor, fake_view: Tensor, noise: torch.Generator) -> Tensor:
        shape = (len(real_view), *(1,) * (real_view.ndim - 1))
        return real_view + gancore.rand(shape, noise, dtype=real_view.dtype) * (fake_view - real_view)

    def discriminator(self, *, mixed_view: Tensor, mixed_adversarial: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(mixed_adversarial.sum(), mixed_view, create_graph=True)
        return (torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square().mean()


class AuxiliaryClassifier(gancore.LossTerm):
    """AC-GAN's class losses."""

    def discriminator(self, *, real_classes: Tensor, real_label: Tensor, fake_classes: Tensor, fake_label: Tensor) -> Tensor:
        return F.cross_entropy(real_classes, real_label) + F.cross_entropy(fake_classes, fake_label)

    def generator(self, *, fake_classes: Tensor, fake_label: Tensor) -> Tensor:
        return F.cross_entropy(fake_classes, fake_label)

    def attacked(self, *, real_classes: Tensor, real_label: Tensor) -> Tensor:
        return F.cross_entropy(real_classes, real_label, reduction="none")
