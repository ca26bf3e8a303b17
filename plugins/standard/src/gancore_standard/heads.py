"""Heads of the discriminator."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import Head, Range
from gancore_standard.networks.initialization import orthogonal_init
from gancore_standard.networks.layers import embedding, spectral


class Linear(Head):
    """One logit per image.

    Args:
        features: Width F of the features, from core.
        spectral_norm: Spectral norm, as the discriminator has it unless set.
    """

    def __init__(self, *, features: int, spectral_norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        orthogonal_init(self)
        spectral(self.linear, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) to logits (N,)."""
        logits: Tensor = self.linear(features)
        return logits.squeeze(1)


class AuxiliaryClassifier(Head):
    """Class logits of the image (AC-GAN: Odena et al. 2017).

    Args:
        features: Width F of the features, from core.
        classes: Number of classes K, from core.
        spectral_norm: Spectral norm, as the discriminator has it unless set.
    """

    gives_classes: ClassVar[bool] = True

    def __init__(self, *, features: int, classes: int, spectral_norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, classes)
        orthogonal_init(self)
        spectral(self.linear, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.linear(features)
        return logits


class Projection(Head):
    """One logit given the label: linear + <embedding(y), features> (Miyato and Koyama 2018, Eq. 3).

    Args:
        features: Width F of the features, from core.
        classes: Number of classes K, from core.
        attributes: Number of attributes A, from core, where labels are attributes.
        spectral_norm: Spectral norm of both, as the discriminator has it unless set.
    """

    def __init__(self, *, features: int, classes: int, attributes: int = 0, spectral_norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.embedding = embedding(classes, attributes, features)
        orthogonal_init(self)
        spectral(self.linear, spectral_norm)
        spectral(self.embedding, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) and labels (N,) int64, or attributes (N, A), to logits (N,)."""
        logits: Tensor = self.linear(features).squeeze(1) + (self.embedding(label) * features).sum(1)
        return logits


class Concatenation(Head):
    """One logit of the features with the label's vector beside them: what Miyato and Koyama 2018 compare projection with.

    Their ``concat`` (arXiv:1802.05637, Fig. 1 c) puts the vector beside the maps of a middle layer; here it stands beside the
    pooled features, before a hidden layer as wide as these, so that any discriminator takes it. Without the hidden layer
    the logit would be a sum of what the image and what the label says, and never know whether they go together.

    Args:
        features: Width F of the features, from core.
        classes: Number of classes K, from core.
        attributes: Number of attributes A, from core, where labels are attributes.
        spectral_norm: Spectral norm of all layers, as the discriminator has it unless set.
        width: Width of the label's vector; the public code's 128.
    """

    def __init__(
        self, *, features: int, classes: int, attributes: int = 0, spectral_norm: bool, width: Annotated[int, Range(1)] = 128
    ) -> None:
        super().__init__()
        self.embedding = embedding(classes, attributes, width)
        self.hidden = nn.Linear(features + width, features)
        self.linear = nn.Linear(features, 1)
        orthogonal_init(self)
        for layer in (self.embedding, self.hidden, self.linear):
            spectral(layer, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) and labels (N,) int64, or attributes (N, A), to logits (N,)."""
        beside = torch.cat([features, self.embedding(label).to(features.dtype)], 1)
        logits: Tensor = self.linear(F.relu(self.hidden(beside)))
        return logits.squeeze(1)
