"""A generator that obeys attributes, and the network that says which attributes an image has."""

from __future__ import annotations

from typing import Annotated

import torch
from gancore_standard.tools import SNDCGANGenerator
from torch import Tensor, nn

import gancore
from gancore import GancoreError, Range

Width = Annotated[float, Range(0, open_low=True)]
Slope = Annotated[float, Range(0)]


def some(attributes: int) -> int:
    """Return a number of attributes that is not 0.

    Raises:
        GancoreError: It is.
    """
    if not attributes:
        raise GancoreError("it is about attributes, and the data have classes in their place; choose data with attributes.")
    return attributes


class Generator(SNDCGANGenerator):
    """SNDCGAN's generator of the latent with the attributes beside it, -1 and 1 (the code's logits are -0.85 and 0.85).

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        latent_dim: Width of the latent, from core.
        attributes: Number of attributes A, from core.
        width: Multiplies the numbers of maps.
        slope: Slope of LeakyReLU below 0.

    Raises:
        GancoreError: The data have no attributes.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        latent_dim: int,
        attributes: int = 0,
        width: Width = 1.0,
        slope: Slope = 0.0,
    ) -> None:
        inputs = latent_dim + some(attributes)
        super().__init__(channels=channels, image_size=image_size, classes=1, latent_dim=inputs, width=width, slope=slope)
        self.latent_dim = latent_dim

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and attributes (N, A) to images (N, C, H, W) in [-1, 1].

        Raises:
            GancoreError: No attributes come with the latents.
        """
        if label is None:
            raise GancoreError("causalgan/generator makes images of attributes, and was given none.")
        return super().forward(torch.cat([z, 2 * label.to(z.dtype) - 1], 1))


class Labeler(gancore.Network):
    """Halving convolutions to 4 x 4 maps, LeakyReLU, and a logit for each attribute: labeler, anti-labeler and judge.

    Without the paper's batch norm, whose statistics would be of real images in one turn and of generated ones in another.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, at least 8, from core.
        attributes: Number of attributes A, from core.
        maps: Maps of the first convolution; each later one has twice as many.
        slope: Slope of LeakyReLU below 0.

    Raises:
        GancoreError: The data have no attributes, or images below 8 px.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        attributes: int = 0,
        maps: Annotated[int, Range(1)] = 64,
        slope: Slope = 0.2,
    ) -> None:
        super().__init__()
        if image_size < 8:
            raise GancoreError(f"the labeler is for images of at least 8 px, not {image_size}; set data.image_size.")
        layers: list[nn.Module] = []
        before, size = channels, image_size
        while size > 4:
            layers += [nn.Conv2d(before, maps, 4, stride=2, padding=1), nn.LeakyReLU(slope)]
            before, maps, size = maps, 2 * maps, size // 2
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.linear = nn.Linear(before * size**2, some(attributes))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits of their attributes (N, A)."""
        logits: Tensor = self.linear(self.layers(x))
        return logits
