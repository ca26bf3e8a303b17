"""Groups of images of one label."""

from __future__ import annotations

import torch
from torch import Tensor


class SameLabelGroups:
    """Makes of each image a group of several of its label, the others at random; one that is alone with its label is repeated.

    Args:
        labels: Labels (N,) or (N, A) of the images.
        weights: How often each is drawn (N,), or None; one that never is stands in no group.
        size: Images of a group.
    """

    def __init__(self, labels: Tensor, weights: Tensor | None, size: int) -> None:
        kind = labels.unique(dim=0, return_inverse=True)[1]
        self.kind = kind if weights is None else kind.masked_fill(weights == 0, int(kind.max()) + 1)
        self.order, self.size = self.kind.argsort(stable=True), size
        self.counts = self.kind.bincount()
        self.starts = self.counts.cumsum(0) - self.counts
        self.rank = self.order.argsort() - self.starts[self.kind]

    def __call__(self, first: Tensor, noise: torch.Generator) -> Tensor:
        """Map indices (N,) to indices (N, size), of which each row starts with its own."""
        kind = self.kind[first][:, None]
        chance = torch.rand((len(first), self.size - 1), generator=noise, dtype=torch.float64)
        steps = 1 + (chance * (self.counts[kind] - 1)).long()
        others = self.order[self.starts[kind] + (self.rank[first][:, None] + steps) % self.counts[kind]]
        return torch.cat([first[:, None], others], 1)
