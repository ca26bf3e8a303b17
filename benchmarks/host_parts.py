"""The components of `benchmarks.hosts`."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gancore import Dataset, DatasetInfo
from gancore.builtin.networks.cifar_resnet import ResNet32


class Noise(Dataset):
    """Two thousand images of noise of CIFAR-10's size, of ten classes."""

    @property
    def info(self) -> DatasetInfo:
        """What is known of them."""
        return DatasetInfo(classes=10, channels=3, image_size=32)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return the images; the splits are the same."""
        noise = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (2000, 3, 32, 32), generator=noise, dtype=torch.uint8), torch.arange(2000) % 10


class UntrainedResNet32(ResNet32):
    """ResNet-32 that may be frozen as it is initialised."""

    frozen_needs_weights: ClassVar[bool] = False
