"""Latents whose numbers are independent, with labels that are uniform over the classes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gancore import Latent, Latents


class _Independent(Latent):
    """Numbers of one distribution each, and labels that are uniform over the classes."""

    labels: ClassVar[str] = "uniform"

    def __init__(self, *, latent_dim: int, classes: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.classes = classes

    def numbers(self, shape: tuple[int, int], noise: torch.Generator) -> Tensor:
        """Return numbers (N, latent_dim)."""
        raise NotImplementedError

    def draw(self, number: int, noise: torch.Generator) -> Latents:
        """Return latents for `number` images."""
        z = self.numbers((number, self.latent_dim), noise)
        return Latents(z, torch.randint(0, self.classes, (number,), generator=noise, device=noise.device))


class Normal(_Independent):
    """Standard normal latents."""

    def numbers(self, shape: tuple[int, int], noise: torch.Generator) -> Tensor:
        """Return normal numbers (N, latent_dim)."""
        return torch.randn(shape, generator=noise, device=noise.device)


class Uniform(_Independent):
    """Latents that are uniform on [-1, 1]."""

    def numbers(self, shape: tuple[int, int], noise: torch.Generator) -> Tensor:
        """Return uniform numbers (N, latent_dim)."""
        return torch.rand(shape, generator=noise, device=noise.device).mul_(2).sub_(1)
