"""The protocol `Run`: what update rules, scores and observers see of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor


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
