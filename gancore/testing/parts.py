"""The components of the host."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gancore.contract import Attack, Classifier, Dataset, DatasetInfo, Discriminator, Generator


class TinyGenerator(Generator):
    """One linear layer and tanh."""

    frozen_needs_weights = False

    def __init__(self, *, channels: int, image_size: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = (channels, image_size, image_size)
        self.linear = nn.Linear(latent_dim, channels * image_size**2)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W)."""
        return torch.tanh(self.linear(z)).view(-1, *self.shape)


class TinyDiscriminator(Discriminator):
    """Two linear layers."""

    features = 8

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * image_size**2, 16), nn.LeakyReLU(0.1), nn.Linear(16, 8), nn.Softplus()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, 8)."""
        features: Tensor = self.layers(x)
        return features


class TinyClassifier(Classifier):
    """Two linear layers."""

    frozen_needs_weights = False

    def __init__(self, *, channels: int, image_size: int, classes: int) -> None:
        super().__init__()
        self.features, self.classes = 8, classes
        self.hidden = nn.Linear(channels * image_size**2, 8)
        self.linear = nn.Linear(8, classes)

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, 8)."""
        return torch.tanh(self.hidden(x.flatten(1)))

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, 8) to logits (N, K)."""
        logits: Tensor = self.linear(features)
        return logits


class TinyAttack(Attack):
    """A step of gradient ascent."""

    def craft(self, x: Tensor, objective: Callable[[Tensor], Tensor], noise: torch.Generator) -> Tensor:
        """Return images (N, C, H, W) that raise `objective`."""
        leaf = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(objective(leaf).sum(), leaf)
        return (x + grad).clamp(-1, 1)


class Noise(Dataset):
    """Forty images of noise, of four classes."""

    @property
    def info(self) -> DatasetInfo:
        """What is known of them."""
        return DatasetInfo(classes=4, channels=1, image_size=8)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return the images; the splits differ."""
        noise = torch.Generator().manual_seed(len(split))
        return torch.randint(0, 256, (40, 1, 8, 8), generator=noise, dtype=torch.uint8), torch.arange(40) % 4
