"""SNDCGAN (Miyato et al. 2018, Table 3; CBGAN, Tables 7 and 8), for any power of two of pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from gancore import Discriminator, Generator, Range
from gancore_standard.networks.initialization import orthogonal_init
from gancore_standard.networks.layers import Norm2d, spectral
from gancore_standard.networks.sizes import doublings, scaled

Width = Annotated[float, Range(0, open_low=True)]


class SNDCGANGenerator(Generator):
    """Linear layer to 4 x 4 maps, transposed 4 x 4 convolutions that double, batch norm, LeakyReLU; 3 x 3 convolution, tanh.

    At 32 px the maps are 512, 256, 128, 64 and the network has 3,812,355 parameters (RGB); each doubling more or less
    adds or drops the widest stage. Weights are orthogonal, biases 0.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        classes: Number of classes K, from core.
        attributes: Number of attributes A, from core, where labels are attributes.
        latent_dim: Width of the latent, from core.
        width: Multiplies the numbers of maps.
        conditional: Conditional batch norm, which makes the generator obey its labels.
        slope: Slope of LeakyReLU below 0.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        classes: int,
        attributes: int = 0,
        latent_dim: int,
        width: Width = 1.0,
        conditional: bool = False,
        slope: Annotated[float, Range(0)] = 0.1,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        maps = [scaled(width, 64 * 2**k) for k in reversed(range(doublings(image_size) + 1))]
        self.linear = nn.Linear(latent_dim, maps[0] * 16)
        pairs = list(pairwise(maps))
        self.convolutions = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, stride=2, padding=1) for a, b in pairs)
        self.norms = nn.ModuleList(Norm2d(b, classes if conditional else None, attributes) for _, b in pairs)
        self.activation = nn.LeakyReLU(slope)
        self.last = nn.Conv2d(maps[-1], channels, 3, padding=1)
        orthogonal_init(self)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) or (N, A) to images (N, C, H, W) in [-1, 1]."""
        x = self.linear(z).unflatten(1, (-1, 4, 4))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.activation(norm(convolution(x), label))
        image: Tensor = self.last(x).tanh()
        return image


class SNDCGANDiscriminator(Discriminator):
    """Pairs of a 3 x 3 and a halving 4 x 4 convolution, a last 3 x 3 one, LeakyReLU after each; global sum pooling.

    At 32 px the maps are 64, 128, 256, 512 and the network with a linear head has 2,928,193 parameters (RGB); each doubling
    more or less adds or drops the widest stage. Weights are orthogonal, biases 0.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        width: Multiplies the numbers of maps.
        spectral_norm: Spectral norm on every layer, one power iteration a turn.
        slope: Slope of LeakyReLU below 0.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        width: Width = 1.0,
        spectral_norm: bool = True,
        slope: Annotated[float, Range(0)] = 0.1,
    ) -> None:
        super().__init__()
        self.spectral_norm = spectral_norm
        stages = doublings(image_size)
        maps = [channels, *(scaled(width, 64 * 2**k) for k in range(stages + 1))]
        layers: list[nn.Module] = []
        for a, b in pairwise(maps[:-1]):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.LeakyReLU(slope)]
            layers += [nn.Conv2d(b, b, 4, stride=2, padding=1), nn.LeakyReLU(slope)]
        layers += [nn.Conv2d(maps[-2], maps[-1], 3, padding=1), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers)
        self.features = maps[-1]
        orthogonal_init(self)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                spectral(layer, spectral_norm)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        maps: Tensor = self.layers(x)
        return maps.sum((2, 3))
