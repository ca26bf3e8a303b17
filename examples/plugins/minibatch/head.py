"""Minibatch deviation (Karras et al. 2018, "Progressive Growing of GANs", section 3), on D's features."""

from typing import ClassVar

import torch
from torch import Tensor, nn

import gancore


class MinibatchDeviation(gancore.Head):
    """One logit, from the features and how far those of the batch spread (arXiv:1710.10196, section 3).

    Args:
        features: Width F of D's features, from core.
    """

    # An image's logit depends on the rest of its batch, so real and generated images must not share one.
    batch_statistics: ClassVar[bool] = True

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features + 1, 1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) to logits (N,)."""
        # Of several processes each has its share of the batch; a batch of one has no spread, and the root of 0 no gradient.
        everyone = gancore.gather(features.float())
        spread = (everyone.var(0, unbiased=False) + 1e-8).sqrt().mean()
        seen = torch.cat([features, spread.to(features.dtype).expand(len(features), 1)], 1)
        logits: Tensor = self.linear(seen)
        return logits.squeeze(1)
