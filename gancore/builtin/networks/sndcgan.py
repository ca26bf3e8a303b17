"""SNDCGAN: the generator and discriminator of CBGAN's Tables 7 and 8 (Miyato et al. 2018, Table 3)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from gancore.builtin.networks.spectral import spectral
from gancore.components import Discriminator, Generator
from gancore.errors import GancoreError
from gancore.settings import Range


def stages(image_size: int) -> int:
    n = image_size.bit_length() - 3
    if image_size < 8 or image_size & (image_size - 1):
        raise GancoreError(f"image_size must be a power of two of at least 8, not {image_size}; set data.image_size.")
    return n

def _maps(width: float, n: int) -> int:
    return max(8, round(width * n / 8) * 8)

def _init(module: nn.Module) -> None:
    for m in module.modules():
        if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.orthogonal_(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)

class SNDCGANGenerator(Generator):
    """x"""
    def __init__(self, *, channels: int, image_size: int, classes: int, latent_dim: int = 128, width: Annotated[float, Range(0, open_low=True)] = 1.0, conditional: bool = False, slope: float = 0.1):
        super().__init__()
        n = stages(image_size)
        self.latent_dim = latent_dim
        maps = [_maps(width, 64 * 2**k) for k in range(n, -1, -1)]
        self.first = nn.Linear(latent_dim, maps[0] * 16)
        self.m0 = maps[0]
        layers = []
        for a, b in zip(maps, maps[1:]):
            layers += [nn.ConvTranspose2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(slope)]
        layers += [nn.Conv2d(maps[-1], channels, 3, 1, 1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        _init(self)
    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return self.layers(self.first(z).view(-1, self.m0, 4, 4))

class SNDCGANDiscriminator(Discriminator):
    """x"""
    def __init__(self, *, channels: int, image_size: int, classes: int = 0, width: Annotated[float, Range(0, open_low=True)] = 1.0, spectral_norm: bool = True, slope: float = 0.1):
        super().__init__()
        n = stages(image_size)
        self.spectral_norm = spectral_norm
        layers = []
        a = channels
        for k in range(n):
            b = _maps(width, 64 * 2**k)
            layers += [nn.Conv2d(a, b, 3, 1, 1), nn.LeakyReLU(slope), nn.Conv2d(b, b, 4, 2, 1), nn.LeakyReLU(slope)]
            a = b
        b = _maps(width, 64 * 2**n)
        layers += [nn.Conv2d(a, b, 3, 1, 1), nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers)
        _init(self)
        for m in self.layers:
            if isinstance(m, nn.Conv2d):
                spectral(m, spectral_norm)
        self.features = b
    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).sum((2, 3))
