"""The discriminator's head of K + 1 classes."""

from __future__ import annotations

from gancore_standard.tools import orthogonal_init, spectral
from torch import Tensor, nn

import gancore


class Extended(gancore.Head):
    """Logits of the K classes of real images and, last, of generated images (LabelGAN, AM-GAN: arXiv:1703.02000, section 2.1).

    Args:
        features: Width F of the features, from core.
        classes: Number of classes K, from core.
        spectral_norm: Spectral norm, as the discriminator has it unless set.
    """

    def __init__(self, *, features: int, classes: int, spectral_norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes + 1)
        orthogonal_init(self)
        spectral(self.linear, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K + 1)."""
        logits: Tensor = self.linear(features)
        return logits
