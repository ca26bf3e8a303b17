"""DCGAN (Radford et al. 2016; CBGAN, Tables 15 and 16), for any power of two of pixels; the paper's are of 128 px."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

from torch import Tensor, nn

from gancore import Discriminator, Generator, Range
from gancore_standard.networks.sizes import doublings, scaled

Width = Annotated[float, Range(0, open_low=True)]


def _dcgan_init(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


class DCGANGenerator(Generator):
    """Transposed 4 x 4 convolutions from 1 x 1 to the image, batch norm and LeakyReLU between, tanh.

    Row 3 of Table 15 and the activations that it lists before tanh are printing errors: the maps halve from 1024 to 64.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        latent_dim: Width of the latent, from core (100 in the paper).
        width: Multiplies the numbers of maps.
        slope: Slope of LeakyReLU below 0.
    """

    def __init__(
        self, *, channels: int, image_size: int, latent_dim: int, width: Width = 1.0, slope: Annotated[float, Range(0)] = 0.2
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        maps = [scaled(width, 64 * 2**k) for k in reversed(range(doublings(image_size)))]
        layers: list[nn.Module] = [nn.ConvTranspose2d(latent_dim, maps[0], 4)]
        for a, b in pairwise(maps):
            layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(slope)]
        layers += [nn.ConvTranspose2d(maps[-1], channels, 4, stride=2, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        _dcgan_init(self)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]."""
        image: Tensor = self.layers(z[:, :, None, None])
        return image


class DCGANDiscriminator(Discriminator):
    """Halving 4 x 4 convolutions to 4 x 4 maps, batch norm after all but the first, LeakyReLU.

    The features are the flattened maps, so a linear head is the last valid convolution of Table 16.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        width: Multiplies the numbers of maps.
        slope: Slope of LeakyReLU below 0.
    """

    batch_statistics: ClassVar[bool] = True

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0, slope: Annotated[float, Range(0)] = 0.2) -> None:
        super().__init__()
        maps = [scaled(width, 64 * 2**k) for k in range(doublings(image_size))]
        layers: list[nn.Module] = [nn.Conv2d(channels, maps[0], 4, stride=2, padding=1), nn.LeakyReLU(slope)]
        for a, b in pairwise(maps):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers)
        self.features = maps[-1] * 16
        _dcgan_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        maps: Tensor = self.layers(x)
        return maps.flatten(1)
