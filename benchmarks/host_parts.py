"""The components of `benchmarks.hosts`."""

from __future__ import annotations

from typing import ClassVar

import torch
from gancore_standard.networks.cifar_resnet import ResNet32
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import Dataset, DatasetInfo, Generator
from gancore.engine import to_unit


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
    """ResNet-32 that may be frozen as it is initialized."""

    frozen_needs_weights: ClassVar[bool] = False


def blobs(number: int, size: int, *, seed: int, scale: float = 1.0) -> Tensor:
    """Return smooth noise, uint8 (number, 3, size, size), so that images differ as a network sees them."""
    noise = torch.Generator().manual_seed(seed)
    coarse = scale * torch.randn(number, 3, 4, 4, generator=noise)
    fine = 0.2 * torch.randn(number, 3, size, size, generator=noise)
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return (smooth + fine).mul_(60).add_(128).clamp_(0, 255).to(torch.uint8)


class Blobs(Dataset):
    """Smooth noise as real images.

    Args:
        number: Images of the test split.
        size: Their height and width.
    """

    def __init__(self, *, number: int = 1000, size: int = 32) -> None:
        self.number = number
        self.size = size

    @property
    def info(self) -> DatasetInfo:
        """What is known of them."""
        return DatasetInfo(classes=10, channels=3, image_size=self.size)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return the images; the splits are the same."""
        return blobs(self.number, self.size, seed=1), torch.arange(self.number) % 10


class Replay(Generator):
    """Gives smooth noise of another contrast, the next images at each call, so that another program can score the same.

    Args:
        number: Images before it begins again.
        image_size: Their height and width.
        latent_dim: Width of the latent, which it ignores.
    """

    def __init__(self, *, number: int, image_size: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.images = blobs(number, image_size, seed=2, scale=0.7)
        self.place = 0
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the next images, as many as latents."""
        places = torch.arange(self.place, self.place + len(z)) % len(self.images)
        self.place = (self.place + len(z)) % len(self.images)
        return to_unit(self.images[places]).to(z.device)
