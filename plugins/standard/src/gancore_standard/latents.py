"""Latents whose numbers are independent of each other and of the label."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gancore import Latent, Latents


class _Independent(Latent):
    """Numbers of one distribution each, and labels that core draws.

    Args:
        latent_dim: Width of the latent, from core.
        attributes: Number of attributes of an image, from core.
        labels: How labels are distributed: ``"uniform"``, each that occurs in the data (of attributes, each combination) as
            often as any other; ``"data"``, as often as there. By default classes are uniform, and attributes as in the data.
    """

    def __init__(self, *, latent_dim: int, attributes: int = 0, labels: Literal["uniform", "data"] | None = None) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.labels = labels or ("data" if attributes else "uniform")

    def numbers(self, shape: tuple[int, int], noise: torch.Generator) -> Tensor:
        """Return numbers (N, latent_dim)."""
        raise NotImplementedError

    def draw(self, number: int, noise: torch.Generator) -> Latents:
        """Return latents for `number` images."""
        return Latents(self.numbers((number, self.latent_dim), noise))


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
