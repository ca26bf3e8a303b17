"""Fully connected networks, for 2-D data (images of 2 x 1 x 1) and tiny images."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal

from torch import Tensor, nn

from gancore import Classifier, Discriminator, Generator, Range

Count = Annotated[int, Range(1)]
Depth = Annotated[int, Range(1, 1000)]


def _layers(inputs: int, hidden: int, depth: int) -> nn.Sequential:
    widths = [inputs, *[hidden] * depth]
    pairs = pairwise(widths)
    return nn.Sequential(*(layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())))


class MLPGenerator(Generator):
    """Linear layers with ReLU (Gulrajani et al. 2017, toy problems).

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        latent_dim: Width of the latent, from core.
        hidden: Width of the hidden layers.
        depth: Number of hidden layers.
        output: What bounds the last layer: tanh, or nothing.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        latent_dim: int,
        hidden: Count = 512,
        depth: Depth = 3,
        output: Literal["tanh", "linear"] = "tanh",
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = (channels, image_size, image_size)
        self.layers = _layers(latent_dim, hidden, depth)
        self.last = nn.Linear(hidden, math.prod(self.shape))
        self.output = nn.Tanh() if output == "tanh" else nn.Identity()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W)."""
        image: Tensor = self.output(self.last(self.layers(z)))
        return image.view(-1, *self.shape)


class MLPDiscriminator(Discriminator):
    """Linear layers with ReLU.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        hidden: Width of the hidden layers.
        depth: Number of hidden layers.
    """

    def __init__(self, *, channels: int, image_size: int, hidden: Count = 512, depth: Depth = 3) -> None:
        super().__init__()
        self.layers = _layers(channels * image_size**2, hidden, depth)
        self.features = hidden

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        features: Tensor = self.layers(x.flatten(1))
        return features


class MLPClassifier(Classifier):
    """Linear layers with ReLU.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        classes: Number of classes K, from core.
        hidden: Width of the hidden layers.
        depth: Number of hidden layers.
    """

    def __init__(self, *, channels: int, image_size: int, classes: int, hidden: Count = 512, depth: Depth = 2) -> None:
        super().__init__()
        self.layers = _layers(channels * image_size**2, hidden, depth)
        self.linear = nn.Linear(hidden, classes)
        self.features = hidden
        self.classes = classes

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        features: Tensor = self.layers(x.flatten(1))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.linear(features)
        return logits
