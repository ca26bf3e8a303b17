"""The labels that occur in the data, and drawing from them: the one place that decides what a generator is asked for."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor

from gancore.contract import DatasetInfo, Latent
from gancore.errors import GancoreError
from gancore.files import digest_of


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

    @classmethod
    def from_table(cls, table: Any, info: DatasetInfo, device: torch.device | str = "cpu") -> Labels:
        """Return what `table` wrote of such data, or raise `GancoreError`."""
        try:
            rows = torch.tensor([[int(word) for word in text.split(",")] for text in table], device=device)
            counts = torch.tensor([*table.values()], dtype=torch.float64, device=device)
            sound = rows.shape[1] == (info.attributes or 1) and rows.min() >= 0 and rows.max() < (info.classes or 2)
        except (AttributeError, IndexError, OverflowError, RuntimeError, TypeError, ValueError):
            sound = False
        if not sound or not ((counts > 0) & counts.isfinite()).all():
            raise GancoreError("its labels are none of these data")
        return cls(rows if info.attributes else rows[:, 0], counts)

    def table(self) -> dict[str, float]:
        """Return each label, attributes with commas between them, and how often it occurs, as a file can hold it."""
        rows = self.values.view(len(self.values), -1).tolist()
        return {",".join(map(str, row)): count for row, count in zip(rows, self.counts.tolist(), strict=True)}

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

    def distribution(self, latent: Latent, classes: int) -> str:
        """Return how the labels of a latent are distributed, for the protocol of scores; the same for the same labels alone."""
        if latent.labels == "data":
            return f"as in the data ({digest_of(self.table(), 8)})"
        if not latent.any_label or self.values.shape == (classes,):
            return latent.labels
        return f"{latent.labels} over the {len(self.values)} labels that occur ({digest_of([*self.table()], 8)})"
