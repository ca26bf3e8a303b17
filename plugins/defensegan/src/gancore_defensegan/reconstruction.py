"""The nearest image that a generator makes: gradient descent on latents from several starts (Defense-GAN)."""

from __future__ import annotations

import math
from typing import Any

import attrs
import torch
from torch import Tensor

import gancore


@attrs.frozen
class Descent:
    """How the latent of an image is looked for.

    Attributes:
        steps: Number L of steps.
        restarts: Number R of latents that each image starts from.
        rate: Learning rate, on the [-1, 1] scale of images.
        momentum: Of the steps.
        decay: Whether the learning rate falls to a tenth for the last fifth of the steps.
    """

    steps: int
    restarts: int
    rate: float
    momentum: float
    decay: bool

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, from 0."""
        return self.rate / 10 if self.decay and step >= math.ceil(0.8 * self.steps) else self.rate


def generator_of(network: Any) -> gancore.Generator:
    """Return a generator that can reconstruct.

    Raises:
        GancoreError: It makes its images of other images.
    """
    if isinstance(network, gancore.Translator):
        raise gancore.GancoreError("a generator that translates images has no latent to look for; name another generator.")
    assert isinstance(network, gancore.Generator)
    return network


def starts(number: int, latent_dim: int, noise: torch.Generator) -> Tensor:
    """Return latents (number, latent_dim), N(0, 1 / latent_dim), as the public code's."""
    drawn = torch.randn((number, latent_dim), generator=noise, device=noise.device)
    return drawn / math.sqrt(latent_dim)


def reconstructed(
    generator: gancore.Generator, x: Tensor, z: Tensor, label: Tensor | None, descent: Descent, *, differentiable: bool = False
) -> Tensor:
    """Return the image that a generator, in evaluation mode, makes nearest to each image of `x` (Defense-GAN, Figure 1).

    z minimizes |G(z) - x|^2, a mean over values, by gradient descent with momentum. The best of an image's starts is the one
    whose last evaluated image, before the last step, is nearest: that image is what is returned, as by the public code.

    Args:
        generator: The generator.
        x: Images (N, C, H, W).
        z: Starts (N R, latent_dim), those of an image one after another.
        label: Labels (N R,) for the generator.
        descent: How z is looked for.
        differentiable: Whether a gradient reaches `x` through all steps.

    Raises:
        GancoreError: All starts of an image diverge.
    """
    targets = x.repeat_interleave(descent.restarts, 0)
    with torch.enable_grad():
        z, velocity = z.detach().requires_grad_(), torch.zeros_like(z)
        for step in range(descent.steps):
            images = generator(z, label).to(x.dtype)
            distance = (images - targets).square().flatten(1).mean(1)
            (grad,) = torch.autograd.grad(distance.sum(), z, create_graph=differentiable)
            velocity = descent.momentum * velocity + grad
            z = z - descent.rate_at(step) * velocity
            z = z if differentiable else z.detach().requires_grad_()
    images = images if differentiable else images.detach()
    # A start that has diverged is no nearest one, though argmin takes what is no number for the least.
    distances = distance.detach().view(-1, descent.restarts)
    best = torch.where(distances.isfinite(), distances, torch.inf).argmin(1)
    nearest: Tensor = images[torch.arange(len(x), device=x.device) * descent.restarts + best]
    if not bool(nearest.isfinite().all()):
        raise gancore.GancoreError(
            f"no start of an image's reconstruction comes to a number at rate = {descent.rate:g}; set a smaller rate."
        )
    return nearest
