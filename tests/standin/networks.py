"""Small convolutional networks, with a width, with spectral norm, and with batch norm."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

import gancore
from gancore import GancoreError

Width = Annotated[float, gancore.Range(0, open_low=True)]


def _channels(width: float) -> int:
    return max(2, round(16 * width))


class SmallCNN(gancore.Classifier):
    """A convolution and a linear layer."""

    def __init__(self, *, channels: int, image_size: int, classes: int, width: Width = 1.0) -> None:
        super().__init__()
        self.features, self.classes = _channels(width) * 16, classes
        self.body = nn.Sequential(
            nn.Conv2d(channels, _channels(width), 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
        )
        self.linear = nn.Linear(self.features, classes)

    def embed(self, x: Tensor) -> Tensor:
        return self.body(x)

    def classify(self, features: Tensor) -> Tensor:
        return self.linear(features)


class ConvolutionalGenerator(gancore.Generator):
    """A linear layer and a convolution; the label is added to the latent where it is conditional."""

    normed: ClassVar[bool] = False

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        latent_dim: int,
        classes: int,
        width: Width = 1.0,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim, self.shape = latent_dim, (_channels(width), image_size, image_size)
        self.embedding = nn.Embedding(classes, latent_dim) if conditional else None
        self.linear = nn.Linear(latent_dim, _channels(width) * image_size**2)
        self.norm = nn.BatchNorm2d(_channels(width)) if self.normed else nn.Identity()
        self.convolution = nn.Conv2d(_channels(width), channels, 3, padding=1)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        if self.embedding is not None and label is not None:
            z = z + self.embedding(label)
        return torch.tanh(self.convolution(torch.relu(self.norm(self.linear(z).view(-1, *self.shape)))))


class NormedGenerator(ConvolutionalGenerator):
    """One with batch norm."""

    normed = True


class SpectralDiscriminator(gancore.Discriminator):
    """A convolution and a linear layer with spectral norm."""

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0, spectral_norm: bool = True) -> None:
        super().__init__()
        if image_size < 8:
            raise GancoreError(f"the network is for images of at least 8 pixels a side, not {image_size}.")
        self.features, self.spectral_norm = 8, spectral_norm
        layers = [nn.Conv2d(channels, _channels(width), 3, padding=1), nn.Linear(_channels(width) * image_size**2, 8)]
        convolution, linear = map(_spectral, layers) if spectral_norm else layers
        self.body = nn.Sequential(convolution, nn.LeakyReLU(0.1), nn.Flatten(), linear, nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def _spectral(layer: nn.Module) -> nn.Module:
    return spectral_norm(layer)


class NormedDiscriminator(gancore.Discriminator):
    """A convolution, batch norm, and a linear layer."""

    batch_statistics: ClassVar[bool] = True

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0) -> None:
        super().__init__()
        self.features = 8
        self.body = nn.Sequential(
            nn.Conv2d(channels, _channels(width), 3, padding=1),
            nn.BatchNorm2d(_channels(width)),
            nn.LeakyReLU(0.1),
            nn.Flatten(),
            nn.Linear(_channels(width) * image_size**2, 8),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Projection(gancore.Head):
    """A logit given the label."""

    def __init__(self, *, features: int, classes: int) -> None:
        super().__init__()
        self.linear, self.embedding = nn.Linear(features, 1), nn.Embedding(classes, features)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        return self.linear(features).squeeze(1) + (self.embedding(label) * features).sum(1)
