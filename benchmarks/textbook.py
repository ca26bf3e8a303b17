"""The loop that a tutorial writes, which the benchmarks of a step's cost compare with.

Real and fake go through D one after the other, D's gradients are computed in G's turn too, the optimizer and the moving average
go parameter by parameter, a data loader reads the images one by one, and ``.item()`` fetches each loss for a progress line.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.turns import Step

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Maps D, real and fake images to a player's loss."""


class Images(Dataset[tuple[Tensor, int]]):
    """Images as a tutorial reads them: one by one, each converted and normalized."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255
        return (image - 0.5) / 0.5, 0


def noise_loader(batch: int) -> DataLoader[tuple[Tensor, int]]:
    """Return two thousand images of noise of CIFAR-10's size, read in this process."""
    images = np.random.default_rng(0).integers(0, 256, (2000, 32, 32, 3), dtype=np.uint8)
    return DataLoader(Images(images), batch_size=batch, shuffle=True, drop_last=True)


def endless(loader: DataLoader[tuple[Tensor, int]]) -> Iterator[Any]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


def relativistic_d(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return D's relativistic loss."""
    return F.softplus(discriminator(fake) - discriminator(real)).mean()


def relativistic_g(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return G's relativistic loss."""
    return F.softplus(discriminator(real) - discriminator(fake)).mean()


def non_saturating_d(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return D's loss of the original game."""
    real_logits, fake_logits = discriminator(real), discriminator(fake)
    real_loss = F.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
    return real_loss + F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))


def non_saturating_g(discriminator: nn.Module, _: Tensor, fake: Tensor) -> Tensor:
    """Return G's non-saturating loss."""
    logits = discriminator(fake)
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def normed_convolution(*args: Any, **kwargs: Any) -> nn.Module:
    """Return a convolution with torch's own spectral norm."""
    return nn.utils.parametrizations.spectral_norm(nn.Conv2d(*args, **kwargs))


def normed_linear(*args: Any, **kwargs: Any) -> nn.Module:
    """Return a linear layer with torch's own spectral norm."""
    return nn.utils.parametrizations.spectral_norm(nn.Linear(*args, **kwargs))


def textbook_step(
    generator: nn.Module,
    discriminator: nn.Module,
    losses: tuple[Loss, Loss],
    batch: int,
    device: torch.device,
    *,
    discriminator_steps: int = 1,
    moving_average: bool = False,
) -> Step:
    """Return one iteration: some steps of D on fresh batches, then one of G.

    Args:
        generator: Maps latents (N, 128) to images.
        discriminator: Maps images to logits, with its spectral norm.
        losses: Of D and of G.
        batch: Real images, and as many fake ones, of a step.
        device: Where to compute.
        discriminator_steps: Steps of D in an iteration.
        moving_average: Whether G's parameters are averaged.
    """
    generator, discriminator = generator.to(device), discriminator.to(device)
    average = copy.deepcopy(generator) if moving_average else None
    d_optimizer = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    g_optimizer = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    batches = endless(noise_loader(batch))
    d_loss, g_loss = losses
    shown: dict[str, float] = {}

    def step() -> None:
        for _ in range(discriminator_steps):
            real = next(batches)[0].to(device)
            fake = generator(torch.randn(batch, 128, device=device))
            d_optimizer.zero_grad()
            loss = d_loss(discriminator, real, fake.detach())
            loss.backward()
            d_optimizer.step()
            shown["d"] = loss.item()
        g_optimizer.zero_grad()
        loss = g_loss(discriminator, real, generator(torch.randn(batch, 128, device=device)))
        loss.backward()
        g_optimizer.step()
        shown["g"] = loss.item()
        if average is not None:
            with torch.no_grad():
                for mine, current in zip(average.parameters(), generator.parameters(), strict=True):
                    mine.mul_(0.9999).add_(current, alpha=0.0001)

    return step
