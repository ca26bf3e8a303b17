"""The labels that occur in the data, and drawing from them: the one place that decides what a generator is asked for."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from gancore.contract import Latent


def weighted_indices(cumulative: Tensor, number: int, noise: torch.Generator) -> Tensor:
    """Return indices (number,) int64, each as often as its weight says, of the weights' cumulative sums (M,) float64."""
    points = torch.rand(number, generator=noise, dtype=torch.float64, device=noise.device) * cumulative[-1]
    return torch.searchsorted(cumulative, points, right=True).clamp_(max=len(cumulative) - 1)


@attrs.frozen(eq=False)
class Labels:
    """The labels of the images that take part in a training, on the run's device.

    Attributes:
        values: Each once, in ascending order: classes (M,) or rows of attributes (M, A), int64.
        counts: Images of each (M,) float64; where samplers weigh the images, the sum of their weights.
    """

    values: Tensor
    counts: Tensor

    @classmethod
    def of(cls, labels: Tensor, weights: Tensor | None, device: torch.device | str = "cpu") -> Labels:
        """Return those of images with labels (N,) or (N, A), each drawn as often as its weight (N,) says."""
        values, places = labels.unique(dim=0, return_inverse=True)
        counts = torch.bincount(places, None if weights is None else weights.double(), len(values)).double()
        return cls(values[counts > 0].to(device), counts[counts > 0].to(device))

    def draw(self, latent: Latent, own: Tensor, noise: torch.Generator, number: int) -> Tensor:
        """Return `number` labels that go with latents, none of which never occurs.

        Args:
            latent: Has drawn the latents, and says how its labels are distributed.
            own: Labels that it has drawn itself; empty where it leaves that to core.
            noise: Where the latents came from.
            number: How many.
        """
        if latent.labels == "data":
            places = weighted_indices(self.counts.cumsum(0), number, noise)
        else:
            places = torch.randint(0, len(self.values), (number,), generator=noise, device=noise.device)
        drawn = self.values[places]
        if not len(own):
            return drawn
        return torch.where(torch.isin(own, self.values), own, drawn) if own.ndim == drawn.ndim == 1 else own
