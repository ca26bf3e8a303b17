"""The protocol `Run`: what update rules, scores and observers see of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from gancore.contract.latents import Latents


class Run(Protocol):
    """Everything alive in one training, as a `gancore.Loop`, a `gancore.Metric` and an observer may use it.

    Attributes:
        iteration: The current iteration, from 0; after training, their number.
        device: Where it computes.
        seed: Seeds every draw and the initial weights.
        networks: Every network by recipe label.
        heads: The discriminator's heads by recipe label.
        recipe: The checked recipe, with its `name`.
        plan: The checked plan, with `info`, a `gancore.DatasetInfo`, and the `dataset`.
        losses: The newest value of every loss on this process's images, ``player/label`` -> 0-d tensor.
    """

    iteration: int
    device: torch.device
    seed: int
    networks: dict[str, Any]
    heads: dict[str, Any]
    recipe: Any
    plan: Any
    losses: dict[str, Tensor]

    @property
    def players(self) -> Mapping[str, Any]:
        """The trained networks, each with its ``parameters`` and its ``optimizer``, by recipe label."""

    def fresh(self) -> Any:
        """Draw a new batch: images, labels, latents. Of several processes each gets its rows of what one would draw."""

    def renew(self, batch: Any) -> Any:
        """Return the batch with the same images and new latents."""

    def phase(self, player: str, batch: Any) -> None:
        """Take a player's turn on a batch. A player none of whose terms is active in this iteration does nothing."""

    def latent(self, number: int, *purpose: str | int) -> Latents:
        """Return latents for so many images, the same whenever they are drawn for the same purpose."""

    def generate(
        self, latents: Latents, weights: str = "ema", *, images: Tensor | None = None, start: int = 0, total: int | None = None
    ) -> Tensor:
        """Return the images (N, C, H, W) float32 in [-1, 1] that the generator makes of latents in evaluation mode.

        Args:
            latents: Of N images; see `latent`.
            weights: ``ema`` for the generator's moving average, where there is one, or ``live``.
            images: What a `gancore.Translator` makes its images of, evenly, for their order may be by class; by default the
                images that take part in the training.
            start: Place of the first image among all that are made so.
            total: How many are made so in all; by default N.

        Raises:
            GancoreError: There is no generator.
        """
