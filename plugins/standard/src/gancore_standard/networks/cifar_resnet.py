"""ResNets of CIFAR style: three stages, shortcuts without parameters (He et al. 2016, section 4.2, option A)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import Classifier, Range
from gancore_standard.networks.sizes import scaled


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.padding = (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(residual + x)


class NormedLinear(nn.Module):
    """Cosine similarities of features and class vectors, LDAM's last layer (Cao et al. 2019).

    Args:
        features: Width F of the features.
        classes: Number of classes K.
    """

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, classes).uniform_(-1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map features (N, F) to cosines (N, K)."""
        return F.normalize(x, dim=1) @ F.normalize(self.weight, dim=0)


class CifarResNet(Classifier):
    """CIFAR-style ResNet of depth 6n + 2; global average pooling makes it free of the resolution.

    Depth 32 has 464,154 parameters (RGB, 10 classes). Its state has the names that public weights have.

    Args:
        channels: Channels of an image, from core.
        classes: Number of classes K, from core.
        depth: 6n + 2.
        width: Multiplies the numbers of maps 16, 32, 64.
        normalized_head: LDAM's cosine layer instead of a linear one.
    """

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        depth: Annotated[int, Range(8, 1000)] = 32,
        width: Annotated[float, Range(0, open_low=True)] = 1.0,
        normalized_head: bool = False,
    ) -> None:
        super().__init__()
        if (depth - 2) % 6:
            raise ValueError(f"depth must be 6n + 2, e.g. 20 or 32, not {depth}")
        blocks = (depth - 2) // 6
        first, second, third = (scaled(width, n) for n in (16, 32, 64))
        self.conv1 = nn.Conv2d(channels, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = self._stage(first, first, blocks, stride=1)
        self.layer2 = self._stage(first, second, blocks, stride=2)
        self.layer3 = self._stage(second, third, blocks, stride=2)
        self.linear = NormedLinear(third, classes) if normalized_head else nn.Linear(third, classes)
        self.features = third
        self.classes = classes
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        first = _Block(inputs, outputs, stride)
        return nn.Sequential(first, *(_Block(outputs, outputs, 1) for _ in range(blocks - 1)))

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        x = F.relu(self.bn1(self.conv1(x)))
        maps: Tensor = self.layer3(self.layer2(self.layer1(x)))
        return maps.mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.linear(features)
        return logits


class ResNet20(CifarResNet):
    """CIFAR-style ResNet-20; the settings are those of `CifarResNet`.

    Args:
        channels: Channels of an image, from core.
        classes: Number of classes K, from core.
        width: Multiplies the numbers of maps 16, 32, 64.
        normalized_head: LDAM's cosine layer instead of a linear one.
    """

    DEPTH = 20

    def __init__(
        self,
        *,
        channels: int,
        classes: int,
        width: Annotated[float, Range(0, open_low=True)] = 1.0,
        normalized_head: bool = False,
    ) -> None:
        super().__init__(channels=channels, classes=classes, depth=self.DEPTH, width=width, normalized_head=normalized_head)


class ResNet32(ResNet20):
    """CIFAR-style ResNet-32; see `ResNet20` for the settings."""

    DEPTH = 32


class ResNet44(ResNet20):
    """CIFAR-style ResNet-44; see `ResNet20` for the settings."""

    DEPTH = 44


class ResNet56(ResNet20):
    """CIFAR-style ResNet-56; see `ResNet20` for the settings."""

    DEPTH = 56
