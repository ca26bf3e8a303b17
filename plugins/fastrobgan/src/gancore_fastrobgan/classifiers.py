"""Classifiers that RobGAN's experiments on CIFAR-10 take for discriminators: PreActResNet-18 and VGG-16 (arXiv:1807.10454)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn
from torch.nn import functional as F

import gancore
from gancore_fastrobgan.networks import FrozenNorm

Width = Annotated[float, gancore.Range(0, open_low=True)]

VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Maps and convolutions of each stage; each stage ends with the largest of 2 x 2 values."""


def _check_size(network: str, image_size: int, factor: int) -> None:
    if image_size % factor:
        raise gancore.GancoreError(
            f"{network} halves images {factor.bit_length() - 1} times, so image_size must be a multiple of {factor}, "
            f"not {image_size}."
        )


def _scaled(width: float, maps: int) -> int:
    return max(1, round(width * maps))


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
    if size > 1:
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
    return convolution


class _PreActBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.convolution1 = _convolution(inputs, outputs, 3, stride)
        self.convolution2 = _convolution(outputs, outputs, 3, 1)
        self.shortcut = _convolution(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        activated = F.leaky_relu(x, 0.2)
        residual = self.convolution2(F.leaky_relu(self.convolution1(activated), 0.2))
        out: Tensor = residual + (x if self.shortcut is None else self.shortcut(activated))
        return out


class PreActResNet18(gancore.Discriminator):
    """ResNet-18 whose blocks begin with their activation (He et al. 2016, arXiv:1603.05027), as RobGAN's public code has it.

    Four stages of two blocks with 64, 128, 256 and 512 maps, LeakyReLU of slope 0.2, no batch norm, global average pooling; no
    activation follows the last block. The public code takes it for CIFAR-10 in the place of SN-GAN's discriminator; 11,159,232
    parameters at width 1.

    Args:
        channels: Channels of an image, from core.
        image_size: A multiple of 8, from core.
        width: Multiplies the numbers of maps.

    Raises:
        GancoreError: Images of another size.
    """

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0) -> None:
        super().__init__()
        _check_size("PreActResNet-18", image_size, 8)
        maps = [_scaled(width, n) for n in (64, 64, 128, 256, 512)]
        self.first = nn.Conv2d(channels, maps[0], 3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        for stage, (inputs, outputs) in enumerate(pairwise(maps)):
            self.blocks.append(_PreActBlock(inputs, outputs, 2 if stage else 1))
            self.blocks.append(_PreActBlock(outputs, outputs, 1))
        self.features = maps[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        maps: Tensor = self.blocks(self.first(x))
        return maps.mean((2, 3))


class VGG16Discriminator(FrozenNorm, gancore.Discriminator):
    """VGG-16 with batch norm (Simonyan and Zisserman 2015, arXiv:1409.1556), the classifier of RobGAN's Figure 1.

    Thirteen convolutions of 3 x 3, each with batch norm and ReLU, five times pooled; at 32 px 512 features are left.

    Args:
        channels: Channels of an image, from core.
        image_size: A multiple of 32, from core.
        width: Multiplies the numbers of maps.
        frozen_norm: Normalize by the running statistics in training too, and leave them as they are.

    Raises:
        GancoreError: Images of another size.
    """

    batch_statistics = True

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0, frozen_norm: bool = False) -> None:
        super().__init__()
        _check_size("VGG-16", image_size, 32)
        self.layers = nn.Sequential()
        inputs = channels
        for plain, number in VGG16:
            outputs = _scaled(width, plain)
            for _ in range(number):
                self.layers.extend([nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()])
                inputs = outputs
            self.layers.append(nn.MaxPool2d(2))
        self.features = inputs
        self.frozen_norm = frozen_norm

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))
