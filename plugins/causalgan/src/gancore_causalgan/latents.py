"""Latents whose attributes a frozen causal controller draws, as they are, under interventions and under conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gancore import GancoreError, Latent, Latents

if TYPE_CHECKING:
    from gancore_causalgan.controller import Controller

TRIES = 1000
"""Draws for each one that is wanted before a condition is called too rare."""


class Causal(Latent):
    """Uniform latents on [-1, 1], and attributes drawn from a causal controller (Kocaoglu et al. 2018, section 5).

    Args:
        latent_dim: Width of the latent, from core.
        attributes: Number of attributes A, from core.
        network: Recipe label of the frozen controller.

    Raises:
        GancoreError: The data have classes, or no attributes.
    """

    labels = "of a causal controller"
    read: Controller

    def __init__(self, *, latent_dim: int, attributes: int = 0, network: str = "controller") -> None:
        super().__init__()
        if not attributes:
            raise GancoreError("a causal controller draws attributes, and the data have none; choose data with attributes.")
        self.latent_dim, self.attributes, self.network = latent_dim, attributes, network

    def draw(self, number: int, noise: torch.Generator) -> Latents:
        """Return latents and attributes for `number` images."""
        return self.draw_under(number, noise)

    def draw_under(
        self,
        number: int,
        noise: torch.Generator,
        do: Mapping[str, int] | None = None,
        given: Mapping[str, int] | None = None,
    ) -> Latents:
        """Return latents and attributes of an interventional distribution, those alone that meet a condition.

        Args:
            number: How many.
            noise: What they are drawn from.
            do: Attributes that are set, to 0 or 1, whatever their causes.
            given: Values that attributes must come out with.

        Raises:
            GancoreError: The controller has other attributes, or draws what is given too rarely.
        """
        names = self.read.names
        if len(names) != self.attributes:
            raise GancoreError(
                f"the controller has {len(names)} attributes, and the data {self.attributes}; correct its graph."
            )
        for name in {**(do or {}), **(given or {})}:
            if name not in names:
                raise GancoreError(f"there is no attribute {name!r}; the controller has {', '.join(names)}.")
        z = 2 * torch.rand((number, self.latent_dim), generator=noise, device=noise.device) - 1
        return Latents(z, self._attributes(number, noise, do or {}, given or {}))

    def _attributes(self, number: int, noise: torch.Generator, do: Mapping[str, int], given: Mapping[str, int]) -> Tensor:
        accepted: list[Tensor] = []
        for _ in range(TRIES if given else 1):
            causes = 2 * torch.rand((number, self.read.latent_dim), generator=noise, device=noise.device) - 1
            drawn = self.read.chances(causes, do).round().long()
            for name, value in given.items():
                drawn = drawn[drawn[:, self.read.names.index(name)] == value]
            accepted.append(drawn)
            if sum(map(len, accepted)) >= number:
                return torch.cat(accepted)[:number]
        condition = ", ".join(f"{name}={value}" for name, value in given.items())
        raise GancoreError(
            f"of {TRIES * number} draws {sum(map(len, accepted))} have {condition}, and {number} are asked for; ask for fewer, "
            "or for what the controller draws more often."
        )
