"""Latents that do not depend on the label: of independent numbers, and of a mixture whose component is a code."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from gancore import Latent, Latents, Range

Positive = Annotated[float, Range(0, open_low=True)]


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


class Mixture(_Independent):
    """A mixture of normal distributions, whose means are drawn once and stay (static GM-GAN: Ben-Yosef and Weinshall 2018).

    Which component made an image is the code ``component`` (N,) int64, each as often as any other; a loss term or a score asks
    for it by that name.

    Args:
        latent_dim: Width of the latent, from core.
        attributes: Number of attributes of an image, from core.
        labels: How labels, which do not depend on the component, are distributed; as for ``normal``.
        components: Number of components.
        spread: The means are uniform on [-spread, spread] in each number of the latent.
        deviation: Standard deviation of each component around its mean.
    """

    codes: ClassVar[Collection[str]] = ("component",)

    def __init__(
        self,
        *,
        latent_dim: int,
        attributes: int = 0,
        labels: Literal["uniform", "data"] | None = None,
        components: Annotated[int, Range(1)] = 10,
        spread: Annotated[float, Range(0)] = 1.0,
        deviation: Positive = 0.5,
    ) -> None:
        super().__init__(latent_dim=latent_dim, attributes=attributes, labels=labels)
        self.deviation = deviation
        self.means: Tensor
        self.register_buffer("means", spread * (2 * torch.rand(components, latent_dim) - 1))

    def draw(self, number: int, noise: torch.Generator) -> Latents:
        """Return latents for `number` images, with their components."""
        component = torch.randint(0, len(self.means), (number,), generator=noise, device=noise.device)
        around = torch.randn((number, self.latent_dim), generator=noise, device=noise.device)
        return Latents(self.means[component] + self.deviation * around, codes={"component": component})
