"""The defense: what a classifier gets is not the image but the nearest that a generator makes."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Annotated, Literal, cast

import torch
from torch import Tensor

import gancore
from gancore_defensegan.reconstruction import Descent, generator_of, reconstructed, starts

if TYPE_CHECKING:
    import gancore.tools

Count = Annotated[int, gancore.Range(1)]
Rate = Annotated[float, gancore.Range(0, open_low=True)]
Momentum = Annotated[float, gancore.Range(0, 1, open_high=True)]


class Reconstruction(gancore.Defense):
    """Gives the classifier the image that the run's generator makes nearest to what is there (Defense-GAN).

    A generator that has learned unperturbed images makes none with a perturbation. The classifier and its training stay as
    they are. The generator is the recipe's, trained beside the classifier or before it (``trained_by``); one that is given
    labels gets them at random, as the run's latents have them.

    Args:
        steps: Number L of steps; 200 in the paper.
        restarts: Number R of starts; 10 in the paper, 2 for CelebA.
        rate: Learning rate on the [-1, 1] scale of images. The public code's is 10 on the images' own scale, so that for its
            MNIST, in [0, 1], it is 2.5 here.
        momentum: Of the steps.
        decay: Have the learning rate fall to a tenth for the last fifth of the steps, as the public code means to and does not.
        sees: What the attacker sees: ``bare``, the classifier alone; ``substitute``, decisions behind the reconstruction, and
            the gradient as if it did nothing; or ``through``, the gradient through all L steps, whose graph takes much memory.
        weights: The generator's: ``ema``, its moving average where there is one, or ``live``.
    """

    def __init__(
        self,
        *,
        steps: Count = 200,
        restarts: Count = 10,
        rate: Rate = 10.0,
        momentum: Momentum = 0.7,
        decay: bool = False,
        sees: Literal["bare", "substitute", "through"] = "bare",
        weights: str = "ema",
    ) -> None:
        super().__init__()
        self.descent = Descent(steps, restarts, rate, momentum, decay)
        self.sees = sees
        self.weights = weights

    def prepare(self, run: gancore.Run) -> None:
        """Take a copy of the run's generator.

        Raises:
            GancoreError: The run has none, or one that translates images.
        """
        self.run = run
        network = generator_of(cast("gancore.tools.Run", run).generator(self.weights))
        self.generator = copy.deepcopy(network).eval().requires_grad_(False)

    def defend(self, x: Tensor, noise: torch.Generator) -> Tensor:
        """Return the reconstructions (N, C, H, W) of images; differentiable where the attacker sees ``through``."""
        number = len(x) * self.descent.restarts
        z = starts(number, self.generator.latent_dim, noise)
        label = self.run.latent(number, "reconstruction").label
        differentiable = self.sees == "through" and torch.is_grad_enabled() and x.requires_grad
        return reconstructed(self.generator, x, z, label, self.descent, differentiable=differentiable)
