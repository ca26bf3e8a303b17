"""Points in the plane whose densities are known, for the case studies (arXiv:1912.12402, section 2.2)."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import torch
from gancore_standard.tools import DEVIATIONS, Floats, Plane, Points, Seed, normals
from numpy.typing import NDArray
from torch import Tensor

import gancore

OUTERMOST = 0.8
"""Radius of the roll's end and of the largest ring."""

Noise = Annotated[float, gancore.Range(0.005, (1 - OUTERMOST) / DEVIATIONS)]

_CHUNK = 4_000_000
"""Most pairs of a point and a place on the roll that are looked at at once."""


class SwissRoll(Plane):
    """Points along a spiral, with normal noise: one class.

    The spiral's radius grows in proportion to its angle, from 1.5 pi onwards, to 0.8 at its end. The points lie evenly along
    its length, so that data are rare beside it and nowhere on it.

    Args:
        samples: Number of training points; of test points there are a quarter.
        seed: Of the points. A set is a function of its settings, whatever the run's seed.
        turns: Turns of the spiral, from 0.25 to 4.
        noise: Standard deviation of the noise, in each direction.
    """

    START = 1.5 * math.pi

    def __init__(
        self,
        *,
        samples: Points = 20000,
        seed: Seed = 0,
        turns: Annotated[float, gancore.Range(0.25, 4)] = 1.5,
        noise: Noise = 0.02,
    ) -> None:
        super().__init__(samples=samples, seed=seed)
        self.turns = turns
        self.noise = noise

    def _class_names(self) -> tuple[str, ...]:
        return ("roll",)

    def _draw(self, labels: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        along = rng.random(len(labels))
        return self._curve(along) + self.noise * rng.standard_normal((len(labels), 2))

    def _density(self, points: Tensor) -> Tensor:
        # The roll is a chain of short pieces of one length, and a piece's noise is that of its middle. Pieces of a quarter
        # of the noise's deviation are far below what can be seen; only the two ends make an error at all.
        pieces = math.ceil(4 * self._length / self.noise)
        middles = torch.from_numpy(self._curve((np.arange(pieces) + 0.5) / pieces)).to(points.device)
        densities = [normals(chunk, middles, self.noise) for chunk in points.split(max(1, _CHUNK // pieces))]
        return torch.cat(densities) if densities else points.new_zeros(0)

    @property
    def _end(self) -> float:
        return self.START + 2 * math.pi * self.turns

    @property
    def _length(self) -> float:
        first, last = _spiral_length(np.array([self.START, self._end]))
        return float(last - first) * OUTERMOST / self._end

    def _curve(self, along: Floats) -> Floats:
        """Return the places (N, 2) at fractions (N,) of the spiral's length."""
        # The length has no inverse in closed form; between so many angles the error is some 1e-9.
        angles = np.linspace(self.START, self._end, 20001)
        lengths = _spiral_length(angles)
        angle = np.interp(lengths[0] + along * (lengths[-1] - lengths[0]), lengths, angles)
        radius = OUTERMOST * angle / self._end
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


class Disc(Plane):
    """Points in a disc that is sparse in its center, or dense: one class (arXiv:1912.12402, Fig. 3).

    With t = r / radius the density is proportional to floor + (1 - floor) t^2 where the center is sparse, and to
    floor + (1 - floor) (1 - t^2) where it is dense.

    Args:
        samples: Number of training points; of test points there are a quarter.
        seed: Of the points. A set is a function of its settings, whatever the run's seed.
        center: Whether the center is sparse or dense.
        radius: Of the disc, up to 0.9.
        floor: The least density over the greatest; 1 is an even disc.
    """

    def __init__(
        self,
        *,
        samples: Points = 20000,
        seed: Seed = 0,
        center: Literal["sparse", "dense"] = "sparse",
        radius: Annotated[float, gancore.Range(0, 0.9, open_low=True)] = 0.6,
        floor: Annotated[float, gancore.Range(0, 1, open_low=True)] = 0.02,
    ) -> None:
        super().__init__(samples=samples, seed=seed)
        self.center = center
        self.radius = radius
        self.floor = floor

    def _class_names(self) -> tuple[str, ...]:
        return ("disc",)

    def _draw(self, labels: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        # The fraction of the sparse disc within t^2 = s is (2 floor s + (1 - floor) s^2) / (1 + floor), whose root is written
        # without a difference of near numbers. The dense disc is the same with 1 - s.
        quantile = rng.random(len(labels))
        square = (1 + self.floor) * quantile / (self.floor + np.sqrt(self.floor**2 + (1 - self.floor**2) * quantile))
        square = np.minimum(square, 1)  # It may be rounded up, and 1 - s must have a root.
        radius = self.radius * np.sqrt(square if self.center == "sparse" else 1 - square)
        angle = 2 * math.pi * rng.random(len(labels))
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)

    def _density(self, points: Tensor) -> Tensor:
        square = points.square().sum(1) / self.radius**2
        rising = square if self.center == "sparse" else 1 - square
        height = (self.floor + (1 - self.floor) * rising) / (math.pi * self.radius**2 * (1 + self.floor) / 2)
        return torch.where(square <= 1, height, 0.0)


class Rings(Plane):
    """Points on concentric rings, with normal noise: one class for each ring, all equally frequent.

    The k-th of K rings has the radius 0.8 k / K; the innermost is class 0.

    Args:
        samples: Number of training points; of test points there are a quarter.
        seed: Of the points. A set is a function of its settings, whatever the run's seed.
        rings: Number K of rings, up to 10.
        noise: Standard deviation of the noise, in each direction.
    """

    def __init__(
        self,
        *,
        samples: Points = 20000,
        seed: Seed = 0,
        rings: Annotated[int, gancore.Range(1, 10)] = 3,
        noise: Noise = 0.02,
    ) -> None:
        super().__init__(samples=samples, seed=seed)
        self.rings = rings
        self.noise = noise

    def _class_names(self) -> tuple[str, ...]:
        return tuple(f"ring {k}" for k in range(1, self.rings + 1))

    def _draw(self, labels: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        radius = OUTERMOST * (labels + 1) / self.rings
        angle = 2 * math.pi * rng.random(len(labels))
        ring = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return ring + self.noise * rng.standard_normal(ring.shape)

    def _density(self, points: Tensor) -> Tensor:
        # A ring of radius R with noise s, at the distance r: exp(-(r^2 + R^2) / 2 s^2) I0(r R / s^2) / (2 pi s^2). The
        # scaled Bessel function keeps its factor exp(-r R / s^2), so that neither overflows.
        distance = torch.linalg.vector_norm(points, dim=1)[:, None]
        radius = OUTERMOST * torch.arange(1, self.rings + 1, dtype=torch.float64, device=points.device) / self.rings
        variance = self.noise**2
        near = torch.exp(-(distance - radius).square() / (2 * variance))
        density: Tensor = (near * torch.special.i0e(distance * radius / variance)).mean(1) / (2 * math.pi * variance)
        return density


def _spiral_length(angle: Floats) -> Floats:
    """Return the length of the spiral r = angle, from its center."""
    return (angle * np.sqrt(1 + angle**2) + np.arcsinh(angle)) / 2
