"""SN-ResNet GAN (Miyato et al. 2018, Table 4; CBGAN, Tables 9 and 10), for any power of two of pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from gancore import Discriminator, GancoreError, Generator, Range
from gancore_standard.networks.initialization import orthogonal_init
from gancore_standard.networks.layers import Norm2d, doubled, halved, spectral
from gancore_standard.networks.sizes import doublings, scaled

Width = Annotated[float, Range(0, open_low=True)]
Activation = Literal["leaky_relu", "relu"]


def _narrow(image_size: int, maps: list[int]) -> list[int]:
    if image_size != 128:
        raise GancoreError(f"the narrow SN-ResNets are of images of 128 px, not {image_size}; leave `narrow` out.")
    return maps


def _activation(name: Activation) -> nn.Module:
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(0.1)


class _UpBlock(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, classes: int | None, attributes: int, activation: Activation, norm: bool
    ) -> None:
        super().__init__()
        self.norm1 = Norm2d(inputs, classes, attributes)
        self.norm2 = Norm2d(outputs, classes, attributes)
        self.shortcut = spectral(nn.Conv2d(inputs, outputs, 1), norm)
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        spectral(self.convolution1, norm)
        self.convolution2 = spectral(nn.Conv2d(outputs, outputs, 3, padding=1), norm)
        self.activation = _activation(activation)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        residual = doubled(self.convolution1, self.activation(self.norm1(x, label)))
        residual = self.convolution2(self.activation(self.norm2(residual, label)))
        # A 1 x 1 convolution commutes with repeating pixels, and costs a quarter before it.
        up: Tensor = residual + F.interpolate(self.shortcut(x), scale_factor=2.0)
        return up


class ResNetGenerator(Generator):
    """Linear layer to 4 x 4 maps, doubling residual blocks, batch norm, activation, 3 x 3 convolution, tanh.

    Up to 32 px every block has 256 maps (4,276,739 parameters at 32 px, RGB); from 64 px on the maps fall from 1024 to 64
    (12,220,675 at 64 px). Weights are orthogonal, biases 0. The tables print ReLU; the public code trains LeakyReLU 0.1.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        classes: Number of classes K, from core.
        attributes: Number of attributes A, from core, where labels are attributes.
        latent_dim: Width of the latent, from core.
        width: Multiplies the numbers of maps.
        conditional: Conditional batch norm, which makes the generator obey its labels.
        activation: LeakyReLU of slope 0.1, or ReLU.
        spectral_norm: Spectral norm on the linear layer and every convolution (Zhang et al. 2019, SAGAN).
        narrow: At 128 px, 512, 512, 256, 256, 128 and 64 maps, as the public code of Miyato et al. has it for the 143 dogs and
            cats of ImageNet: 10,606,339 parameters with those of the classes, in place of 33,550,339.
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
        activation: Activation = "leaky_relu",
        spectral_norm: bool = False,
        narrow: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        number = doublings(image_size)
        plain = [256] * (number + 1) if number <= 3 else [min(1024, 64 * 2**k) for k in reversed(range(number + 1))]
        plain = _narrow(image_size, [512, 512, 256, 256, 128, 64]) if narrow else plain
        maps = [scaled(width, n) for n in plain]
        condition = classes if conditional else None
        self.linear = spectral(nn.Linear(latent_dim, maps[0] * 16), spectral_norm)
        self.blocks = nn.ModuleList(_UpBlock(a, b, condition, attributes, activation, spectral_norm) for a, b in pairwise(maps))
        self.norm = nn.BatchNorm2d(maps[-1])
        self.activation = _activation(activation)
        self.last = spectral(nn.Conv2d(maps[-1], channels, 3, padding=1), spectral_norm)
        orthogonal_init(self)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) or (N, A) to images (N, C, H, W) in [-1, 1]."""
        x = self.linear(z).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            x = block(x, label)
        image: Tensor = self.last(self.activation(self.norm(x))).tanh()
        return image


class _DownBlock(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, activation: Activation, norm: bool, *, down: bool, first: bool, raw: bool
    ) -> None:
        super().__init__()
        self.first, self.down, self.raw = first, down, raw
        self.shortcut = spectral(nn.Conv2d(inputs, outputs, 1), norm) if down or inputs != outputs else None
        self.convolution1 = spectral(nn.Conv2d(inputs, outputs, 3, padding=1), norm)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        spectral(self.convolution2, norm)
        self.activation1 = nn.Identity() if first else _activation(activation)
        self.activation2 = _activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.activation1(x)
        residual = self.activation2(self.convolution1(activated))
        x = x if self.raw else activated
        if self.down:
            # Averaging commutes with a 1 x 1 convolution, and makes it four times cheaper.
            residual, x = halved(self.convolution2, residual), F.avg_pool2d(x, 2)
        else:
            residual = self.convolution2(residual)
        out: Tensor = residual + (x if self.shortcut is None else self.shortcut(x))
        return out


class ResNetDiscriminator(Discriminator):
    """Residual blocks that halve by average pooling, a last activation, global sum pooling.

    Up to 32 px four blocks of 128 maps, the first two halving (1,053,825 parameters with a linear head at 32 px, RGB); from
    64 px on halving blocks from 64 to 512 (1024) maps and one of 1024 that does not halve (19,542,721 at 64 px).

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        width: Multiplies the numbers of maps.
        spectral_norm: Spectral norm on every layer, one power iteration a turn.
        activation: LeakyReLU of slope 0.1, or ReLU.
        raw_shortcut: Shortcuts start from a block's input, as Miyato et al. print and train it. CBGAN's public code activates
            in place, so that its shortcuts start from the activated input; that is the default.
        halve_last: From 64 px on, let the last block halve too, as that of Miyato et al. does at 64 px.
        pooling: Sum over all places, or their mean, as Gulrajani et al. 2017 have it (arXiv:1704.00028).
        narrow: At 128 px, blocks of 64, 128, 256, 256, 512 and 512 maps, as `ResNetGenerator` says.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        width: Width = 1.0,
        spectral_norm: bool = True,
        activation: Activation = "leaky_relu",
        raw_shortcut: bool = False,
        halve_last: bool = False,
        pooling: Literal["sum", "mean"] = "sum",
        narrow: bool = False,
    ) -> None:
        super().__init__()
        self.spectral_norm = spectral_norm
        self.mean = pooling == "mean"
        number = doublings(image_size)
        plain = [128] * 4 if number <= 3 else [*(min(1024, 64 * 2**k) for k in range(number)), 1024]
        plain = _narrow(image_size, [64, 128, 256, 256, 512, 512]) if narrow else plain
        halving = 2 if number <= 3 else number + halve_last
        maps = [channels, *(scaled(width, n) for n in plain)]
        self.blocks = nn.Sequential(
            *(
                _DownBlock(a, b, activation, spectral_norm, down=k < halving, first=k == 0, raw=raw_shortcut)
                for k, (a, b) in enumerate(pairwise(maps))
            )
        )
        self.activation = _activation(activation)
        self.features = maps[-1]
        orthogonal_init(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        maps: Tensor = self.activation(self.blocks(x))
        return maps.mean((2, 3)) if self.mean else maps.sum((2, 3))
