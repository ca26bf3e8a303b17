"""SNDCGAN and SN-ResNet for 32 px as a tutorial or a paper's public code writes them, without gancore.

They have the layers, and so the parameters, of gancore's networks. Layers are computed in the order in which Miyato et al.'s
code has them: the ResNet's shortcuts are doubled before their 1 x 1 convolution, and halved after it where a block has maps of
its own before it. Which convolution and linear layer a discriminator has is the caller's choice, for every library brings its
own spectral norm.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from gancore_standard.networks.sizes import scaled
from torch import Tensor, nn
from torch.nn import functional as F

Layer = Callable[..., nn.Module]
"""Makes a layer from the arguments of `nn.Conv2d` or `nn.Linear`."""

LATENT = 128


class SumPixels(nn.Module):
    """Global sum pooling."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C)."""
        return x.sum((2, 3))


def sndcgan_generator(width: float) -> nn.Module:
    """Return SNDCGAN's generator."""
    maps = [scaled(width, number) for number in (512, 256, 128, 64)]
    layers: list[nn.Module] = [nn.Linear(LATENT, maps[0] * 16), nn.Unflatten(1, (maps[0], 4, 4))]
    for a, b in pairwise(maps):
        layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(maps[-1], 3, 3, padding=1), nn.Tanh())


def sndcgan_discriminator(width: float, convolution: Layer, linear: Layer) -> nn.Module:
    """Return SNDCGAN's discriminator, which gives logits (N, 1)."""
    maps = [3, *(scaled(width, number) for number in (64, 128, 256, 512))]
    layers: list[nn.Module] = []
    for a, b in pairwise(maps[:-1]):
        layers += [convolution(a, b, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)]
        layers += [convolution(b, b, 4, stride=2, padding=1), nn.LeakyReLU(0.1, inplace=True)]
    layers += [convolution(maps[-2], maps[-1], 3, padding=1), nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers, SumPixels(), linear(maps[-1], 1))


class UpBlock(nn.Module):
    """A residual block that doubles.

    Args:
        maps: Number of maps, before and after.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(maps), nn.BatchNorm2d(maps)
        self.convolution1 = nn.Conv2d(maps, maps, 3, padding=1)
        self.convolution2 = nn.Conv2d(maps, maps, 3, padding=1)
        self.shortcut = nn.Conv2d(maps, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, 2H, 2W)."""
        h = F.interpolate(F.relu(self.norm1(x)), scale_factor=2.0)
        h = self.convolution2(F.relu(self.norm2(self.convolution1(h))))
        up: Tensor = h + self.shortcut(F.interpolate(x, scale_factor=2.0))
        return up


class FirstBlock(nn.Module):
    """The discriminator's first block, which halves.

    Args:
        maps: Number of maps after it.
        convolution: Makes its convolutions.
    """

    def __init__(self, maps: int, convolution: Layer) -> None:
        super().__init__()
        self.convolution1 = convolution(3, maps, 3, padding=1)
        self.convolution2 = convolution(maps, maps, 3, padding=1)
        self.shortcut = convolution(3, maps, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to (N, C, H/2, W/2)."""
        h = F.avg_pool2d(self.convolution2(F.relu(self.convolution1(x))), 2)
        down: Tensor = h + self.shortcut(F.avg_pool2d(x, 2))
        return down


class DownBlock(nn.Module):
    """A further block of the discriminator.

    Args:
        maps: Number of maps, before and after.
        convolution: Makes its convolutions.
        down: Whether it halves; one that does not has no layer in its shortcut.
    """

    def __init__(self, maps: int, convolution: Layer, *, down: bool) -> None:
        super().__init__()
        self.convolution1 = convolution(maps, maps, 3, padding=1)
        self.convolution2 = convolution(maps, maps, 3, padding=1)
        self.shortcut = convolution(maps, maps, 1) if down else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to maps of the same or half the size."""
        h: Tensor = self.convolution2(F.relu(self.convolution1(F.relu(x))))
        if self.shortcut is None:
            return h + x
        return F.avg_pool2d(h, 2) + F.avg_pool2d(self.shortcut(x), 2)


def resnet_generator(width: float) -> nn.Module:
    """Return the generator of SN-ResNet."""
    maps = scaled(width, 256)
    first = [nn.Linear(LATENT, maps * 16), nn.Unflatten(1, (maps, 4, 4))]
    blocks = [UpBlock(maps) for _ in range(3)]
    return nn.Sequential(*first, *blocks, nn.BatchNorm2d(maps), nn.ReLU(), nn.Conv2d(maps, 3, 3, padding=1), nn.Tanh())


def resnet_discriminator(width: float, convolution: Layer, linear: Layer) -> nn.Module:
    """Return the discriminator of SN-ResNet, which gives logits (N, 1)."""
    maps = scaled(width, 128)
    blocks = [FirstBlock(maps, convolution), *(DownBlock(maps, convolution, down=k == 0) for k in range(3))]
    return nn.Sequential(*blocks, nn.ReLU(), SumPixels(), linear(maps, 1))


GENERATORS: dict[str, Callable[[float], nn.Module]] = {"sndcgan": sndcgan_generator, "resnet": resnet_generator}
DISCRIMINATORS: dict[str, Callable[[float, Layer, Layer], nn.Module]] = {
    "sndcgan": sndcgan_discriminator,
    "resnet": resnet_discriminator,
}
