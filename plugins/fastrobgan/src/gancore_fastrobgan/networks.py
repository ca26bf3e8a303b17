"""RobGAN's networks: SN-GAN's ResNets without spectral norm and without projection (arXiv:1807.10454, and its public code)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Self

from gancore_standard.tools import doubled, halved
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

import gancore

Width = Annotated[float, gancore.Range(0, open_low=True)]


def _plan(image_size: int, large: bool) -> tuple[list[int], list[bool], list[int], list[bool]]:
    """Return maps and doublings of the generator, and maps and halvings of the discriminator, in units of 64 maps.

    At 128 px the public code has two of each: the smaller ones for ImageNet-143, the larger ones for all of ImageNet.
    """
    if image_size < 8 or image_size > 128 or image_size & (image_size - 1):
        raise gancore.GancoreError(f"RobGAN's networks make images of 8, 16, 32, 64 or 128 px, not {image_size}.")
    if image_size <= 32:
        doublings = int(math.log2(image_size)) - 2
        return [16, 8, 4, 2, 1], [k < doublings for k in range(4)], [2] * 4, [True, True, False, False]
    if image_size == 64:
        return [16, 8, 4, 2, 1], [True] * 4, [1, 2, 4, 8, 16], [True] * 5
    halvings = [True] * 5 + [False]
    if large:
        return [16, 16, 8, 4, 2, 1], [True] * 5, [1, 2, 4, 8, 16, 16], halvings
    return [8, 8, 4, 4, 2, 1], [True] * 5, [1, 2, 4, 4, 8, 8], halvings


class ConditionalNorm(nn.Module):
    """Batch norm whose gain and bias are embeddings of the label, from 1 and 0.

    Args:
        maps: Number of maps C.
        classes: Number of classes K.
        momentum: Of the running statistics. The public code's 0.9 was meant for a library in which it says how much is
            kept; in torch it says how much is replaced.
    """

    def __init__(self, maps: int, classes: int, momentum: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(maps, eps=2e-5, momentum=momentum, affine=False)
        self.gain = nn.Embedding(classes, maps)
        self.bias = nn.Embedding(classes, maps)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Normalize maps (N, C, H, W) given labels (N,) int64."""
        normed: Tensor = self.norm(x) * self.gain(label)[:, :, None, None] + self.bias(label)[:, :, None, None]
        return normed


def _convolution(inputs: int, outputs: int, size: int, *, bias: bool, gain: float) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=bias)
    nn.init.xavier_uniform_(convolution.weight, gain=gain)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


class _UpBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, classes: int, momentum: float, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.convolution1 = _convolution(inputs, outputs, 3, bias=True, gain=math.sqrt(2))
        self.convolution2 = _convolution(outputs, outputs, 3, bias=True, gain=math.sqrt(2))
        self.norm1 = ConditionalNorm(inputs, classes, momentum)
        self.norm2 = ConditionalNorm(outputs, classes, momentum)
        self.shortcut = _convolution(inputs, outputs, 1, bias=True, gain=1)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        residual = F.relu(self.norm1(x, label))
        # A 1 x 1 convolution commutes with repeating pixels, and costs a quarter before it.
        x = self.shortcut(x)
        if self.up:
            residual, x = doubled(self.convolution1, residual), F.interpolate(x, scale_factor=2.0)
        else:
            residual = self.convolution1(residual)
        residual = self.convolution2(F.relu(self.norm2(residual, label)))
        out: Tensor = residual + x
        return out


class RobGANGenerator(gancore.Generator):
    """RobGAN's generator: linear layer, residual blocks with conditional batch norm, tanh.

    At 32 px and width 1 it has 12,272,515 parameters for 10 classes. Weights start by Glorot's rule.

    Args:
        channels: Channels of an image, from core.
        image_size: 8, 16, 32, 64 or 128, from core.
        classes: Number of classes K, from core.
        latent_dim: Width of the latent, from core.
        width: Multiplies the numbers of maps; 1 is 64 in the last block.
        large: At 128 px, the network for all of ImageNet (33.6 M parameters and those of the classes) instead of that for
            ImageNet-143 (10.6 M).
        momentum: Of the batch norms' running statistics; the public code's is 0.9, see `ConditionalNorm`.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        classes: int,
        latent_dim: int,
        width: Width = 1.0,
        large: bool = False,
        momentum: Annotated[float, gancore.Range(0, 1)] = 0.1,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        units, ups, _, _ = _plan(image_size, large)
        maps = [max(1, round(64 * width * unit)) for unit in units]
        self.linear = nn.Linear(latent_dim, maps[0] * 16)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.blocks = nn.ModuleList(
            _UpBlock(a, b, classes, momentum, up=up) for (a, b), up in zip(pairwise(maps), ups, strict=True)
        )
        self.norm = nn.BatchNorm2d(maps[-1])
        self.last = _convolution(maps[-1], channels, 3, bias=True, gain=1)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) to images (N, C, H, W) in [-1, 1]."""
        if label is None:
            raise gancore.GancoreError("RobGAN's generator makes images of given classes, so it needs labels.")
        x = self.linear(z).unflatten(1, (-1, 4, 4))
        for block in self.blocks:
            x = block(x, label)
        image: Tensor = self.last(F.relu(self.norm(x))).tanh()
        return image


class _DownBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, down: bool, first: bool, norm: bool) -> None:
        super().__init__()
        self.down, self.first = down, first
        shortcut = down or inputs != outputs
        self.convolution1 = _convolution(inputs, outputs, 3, bias=False, gain=math.sqrt(2))
        self.convolution2 = _convolution(outputs, outputs, 3, bias=False, gain=math.sqrt(2))
        self.shortcut = _convolution(inputs, outputs, 1, bias=False, gain=1) if shortcut else None
        self.norm1 = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.norm2 = nn.BatchNorm2d(outputs) if norm else nn.Identity()
        self.norm3 = nn.BatchNorm2d(outputs) if norm and shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = F.relu(self.norm1(self.convolution1(x if self.first else F.relu(x))))
        if self.down and isinstance(self.norm2, nn.Identity):
            residual = halved(self.convolution2, residual)
        else:
            residual = self.norm2(self.convolution2(residual))
            residual = F.avg_pool2d(residual, 2) if self.down else residual
        if self.first and self.down:
            x = F.avg_pool2d(x, 2)
        if self.shortcut is not None:
            x = self.norm3(self.shortcut(x))
        if self.down and not self.first:
            x = F.avg_pool2d(x, 2)
        out: Tensor = residual + x
        return out


class FrozenNorm(nn.Module):
    """A network whose batch norms stay in evaluation mode where it says so by its attribute `frozen_norm`."""

    frozen_norm: bool

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; frozen batch norms stay in the latter."""
        super().train(mode)
        if self.frozen_norm:
            for layer in self.modules():
                # Under several processes core has turned them into a class of its own.
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self


class PlainDiscriminator(gancore.Discriminator):
    """RobGAN's discriminator without batch norm, as its 64 px networks and Fast-RobGAN have it: residual blocks, sum pooling.

    Args:
        channels: Channels of an image, from core.
        image_size: 8, 16, 32, 64 or 128, from core.
        width: Multiplies the numbers of maps; 1 is 128 maps at 32 px.
        large: At 128 px, the network for all of ImageNet instead of that for ImageNet-143.
    """

    NORM = False

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0, large: bool = False) -> None:
        super().__init__()
        _, _, units, downs = _plan(image_size, large)
        maps = [channels, *(max(1, round(64 * width * unit)) for unit in units)]
        self.blocks = nn.Sequential(
            *(
                _DownBlock(a, b, down=down, first=number == 0, norm=self.NORM)
                for number, ((a, b), down) in enumerate(zip(pairwise(maps), downs, strict=True))
            )
        )
        self.features = maps[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        maps: Tensor = self.blocks(x)
        return F.relu(maps).sum((2, 3))


class RobGANDiscriminator(FrozenNorm, PlainDiscriminator):
    """RobGAN's discriminator with batch norm: residual blocks, sum pooling; 1,056,395 parameters with its heads at 32 px.

    Args:
        channels: Channels of an image, from core.
        image_size: 8, 16, 32, 64 or 128, from core.
        width: Multiplies the numbers of maps; 1 is 128 maps at 32 px.
        large: At 128 px, the network for all of ImageNet instead of that for ImageNet-143.
        frozen_norm: Normalize by the running statistics in training too, and leave them as they are, as the public code's
            fine-tuning does: its attack leaves the network in evaluation mode.
    """

    NORM = True
    batch_statistics = True

    def __init__(
        self, *, channels: int, image_size: int, width: Width = 1.0, large: bool = False, frozen_norm: bool = False
    ) -> None:
        super().__init__(channels=channels, image_size=image_size, width=width, large=large)
        self.frozen_norm = frozen_norm
