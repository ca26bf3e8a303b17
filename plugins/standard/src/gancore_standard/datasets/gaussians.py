"""Normal distributions in the plane, a class each: on a ring, and on a square grid (Srivastava et al. 2017, section 5.1)."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gancore import GancoreError, Range
from gancore_standard.datasets.plane import DEVIATIONS, Floats, Plane, Points, Seed, normals

Spread = Annotated[float, Range(0, 0.2, open_low=True)]
Extent = Annotated[float, Range(0, 0.95, open_low=True)]


class Gaussians(Plane):
    """Round normal distributions around centers of their own, all equally frequent.

    Args:
        samples: Number of training points; of test points there are a quarter.
        seed: Of the points. A set is a function of its settings, whatever the run's seed.
        spread: Standard deviation of each, in each direction.
        extent: Of the outermost centers.

    Raises:
        GancoreError: extent + 5 spread is above 1, so that points would leave [-1, 1].
    """

    def __init__(self, *, samples: Points, seed: Seed, spread: Spread, extent: Extent) -> None:
        super().__init__(samples=samples, seed=seed)
        reach = extent + DEVIATIONS * spread
        if reach > 1 + 1e-9:
            raise GancoreError(
                f"Gaussians in the plane need room: extent + {DEVIATIONS} spread is {reach:g}, above 1; "
                "set a smaller extent or spread."
            )
        self.spread = spread

    def _centers(self) -> Floats:
        """Return the centers (K, 2), in the order of the classes."""
        raise NotImplementedError

    def _draw(self, labels: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        return self._centers()[labels] + self.spread * rng.standard_normal((len(labels), 2))

    def _density(self, points: Tensor) -> Tensor:
        return normals(points, torch.from_numpy(self._centers()).to(points.device), self.spread)


class GaussianRing(Gaussians):
    """Normal distributions whose centers lie evenly on a circle: one class for each, all equally frequent.

    The centers follow each other counterclockwise; class 0 lies at the right.

    Args:
        samples: Number of training points; of test points there are a quarter.
        seed: Of the points. A set is a function of its settings, whatever the run's seed.
        modes: Number of distributions, up to 100.
        spread: Standard deviation of each, in each direction; by default about the share of the radius that Hoang et al.
            2018 (OpenReview:rkmu5b0a-) have.
        radius: Of the circle.

    Raises:
        GancoreError: radius + 5 spread is above 1, so that points would leave [-1, 1].
    """

    def __init__(
        self,
        *,
        samples: Points = 20000,
        seed: Seed = 0,
        modes: Annotated[int, Range(1, 100)] = 8,
        spread: Spread = 0.05,
        radius: Extent = 0.7,
    ) -> None:
        super().__init__(samples=samples, seed=seed, spread=spread, extent=radius)
        self.modes = modes
        self.radius = radius

    def _class_names(self) -> tuple[str, ...]:
        return tuple(f"{360 * k / self.modes:.4g} degrees" for k in range(self.modes))

    def _centers(self) -> Floats:
        angle = 2 * math.pi * np.arange(self.modes) / self.modes
        return self.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


class GaussianGrid(Gaussians):
    """A square grid of normal distributions: one class for each, all equally frequent.

    The centers reach from -extent to extent, from left to right and then upwards; class 0 lies at the lower left. A single
    center lies at 0.

    Args:
        samples: Number of training points; of test points there are a quarter.
        seed: Of the points. A set is a function of its settings, whatever the run's seed.
        side: Centers per side, up to 10.
        spread: Standard deviation of each, in each direction.
        extent: Of the outermost centers.

    Raises:
        GancoreError: extent + 5 spread is above 1, so that points would leave [-1, 1].
    """

    def __init__(
        self,
        *,
        samples: Points = 20000,
        seed: Seed = 0,
        side: Annotated[int, Range(1, 10)] = 5,
        spread: Spread = 0.02,
        extent: Extent = 0.7,
    ) -> None:
        super().__init__(samples=samples, seed=seed, spread=spread, extent=extent if side > 1 else 0.0)
        self.side = side
        self.extent = extent

    def _class_names(self) -> tuple[str, ...]:
        return tuple(f"column {k % self.side + 1}, row {k // self.side + 1}" for k in range(self.side**2))

    def _centers(self) -> Floats:
        at = np.linspace(-self.extent, self.extent, self.side) if self.side > 1 else np.zeros(1)
        return np.stack([np.tile(at, self.side), np.repeat(at, self.side)], axis=1)
