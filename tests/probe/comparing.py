"""A head that compares the images of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gancore


class ComparingHead(gancore.Head):
    """One logit of the features and of their distances from those of the whole batch, in whichever process these are."""

    batch_statistics = True

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features + 1, 1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        distance = (features[:, None] - gancore.gather(features)[None]).abs().sum(2)
        closeness = torch.exp(-distance).sum(1, keepdim=True) + gancore.global_mean(features.square().mean())
        logits: Tensor = self.linear(torch.cat([features, closeness], 1)).squeeze(1)
        return logits
