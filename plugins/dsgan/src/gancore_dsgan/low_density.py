"""The score ``low-density``: samples where data are rare."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

import gancore

MOST_DIMENSIONS = 16
"""Above it a kernel density estimate says nothing, however many points there are."""

_CHUNK = 4_000_000
"""Most pairs of points whose distances are held at once."""


class LowDensity(gancore.Metric):
    """How many generated points lie where the data are rare (arXiv:1912.12402, section 2.2).

    The density of the data is estimated by Gaussian kernels on the real points, in float64; that at a real point by those on
    all the others, since a point's own kernel would make every real point look common. The level is the density below which
    the fraction `level` of the real points lie. Reports:

    - ``outside``, the fraction of generated points whose density is below the level, from 0 to 1; about `level` for a generator
      that gives the data themselves, and 1 for one that gives only what is rare;
    - ``mean_distance``, their mean Euclidean distance to the nearest real point, on the [-1, 1] scale: what shows that
      they are rare and not merely far;
    - ``inside_bounds``, the fraction of them that lie within [-1, 1].

    Args:
        level: Fraction of the data that counts as rare.
        bandwidth: Standard deviation of the kernels, on the [-1, 1] scale.
    """

    better: ClassVar[Mapping[str, str]] = {"outside": "higher"}

    def __init__(
        self,
        *,
        level: Annotated[float, gancore.Range(0, 1, open_low=True, open_high=True)] = 0.05,
        bandwidth: Annotated[float, gancore.Range(0, open_low=True)] = 0.03,
    ) -> None:
        self.level = level
        self.bandwidth = bandwidth
        self._real: list[Tensor] = []
        self._threshold: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the generated points."""
        self._fake: list[Tensor] = []

    def update_real(self, *, images: Tensor) -> None:
        """Take in real points, images (N, C, H, W) in [-1, 1] of at most 16 values each.

        Raises:
            GancoreError: The images have more values, or another number of them than before.
        """
        self._real.append(self._points(images))
        self._threshold = None

    def update(self, *, images: Tensor) -> None:
        """Take in generated points, images (N, C, H, W) of at most 16 values each.

        Raises:
            GancoreError: The images have more values, or another number of them than before.
        """
        self._fake.append(self._points(images))

    def protocol(self) -> dict[str, Any]:
        """Return the level, the bandwidth, and how the density is estimated."""
        return {"level": self.level, "bandwidth": self.bandwidth, "density": "gaussian kernels, leave-one-out, float64"}

    def compute(self) -> dict[str, Any]:
        """Return ``outside``, ``mean_distance`` and ``inside_bounds``.

        Raises:
            GancoreError: No generated point, fewer than two real ones, or points that are not finite.
        """
        fake, real = self._gathered(self._fake, 1, "generated"), self._gathered(self._real, 2, "real")
        if self._threshold is None:
            own, _ = log_density(real, real, self.bandwidth, leave_one_out=True)
            self._threshold = torch.quantile(own, self.level)
        density, nearest = log_density(fake, real, self.bandwidth)
        return {
            "outside": float((density < self._threshold).double().mean()),
            "mean_distance": float(nearest.mean()),
            "inside_bounds": float((fake.abs() <= 1).all(1).double().mean()),
        }

    def _points(self, images: Tensor) -> Tensor:
        points = images.detach().flatten(1).double()
        held = [*self._real[:1], *self._fake[:1]]
        if points.shape[1] > MOST_DIMENSIONS:
            raise gancore.GancoreError(
                f"Low density: images of {points.shape[1]} values are no points of few dimensions, whose density could be "
                f"estimated; use it for data of at most {MOST_DIMENSIONS} values, such as points in the plane."
            )
        if held and held[0].shape[1] != points.shape[1]:
            raise gancore.GancoreError(
                f"Low density: points of {points.shape[1]} values came after points of {held[0].shape[1]}; "
                "all must have as many."
            )
        return points

    @staticmethod
    def _gathered(batches: list[Tensor], least: int, kind: str) -> Tensor:
        number = sum(map(len, batches))
        if number < least:
            raise gancore.GancoreError(
                f"Low density: it needs at least {'one' if least == 1 else 'two'} {kind} point{'' if least == 1 else 's'}, and "
                f"there {'is' if number == 1 else 'are'} {number}; give it more before asking for the score."
            )
        points = torch.cat(batches)
        if not bool(points.isfinite().all()):
            raise gancore.GancoreError(f"Low density: {kind} points are not finite; check where they come from.")
        return points


def log_density(points: Tensor, data: Tensor, bandwidth: float, *, leave_one_out: bool = False) -> tuple[Tensor, Tensor]:
    """Return the logarithm of a Gaussian kernel density estimate at points, and their distances to the nearest datum.

    In logarithms, so that points that are far from all data still have an order.

    Args:
        points: Where, (M, D) float64.
        data: What the estimate is made from, (N, D) float64.
        bandwidth: Standard deviation of the kernels.
        leave_one_out: `points` are `data`, N of 2 or more, and each leaves itself out.

    Returns:
        The logarithm of the density per unit of volume (M,) and the Euclidean distances (M,), float64.
    """
    number, dimensions = data.shape
    densities, distances = [], []
    rows = max(1, _CHUNK // number)
    for start in range(0, len(points), rows):
        # Not by products: what is nearest to itself shall be at 0 exactly.
        apart = torch.cdist(points[start : start + rows], data, compute_mode="donot_use_mm_for_euclid_dist")
        if leave_one_out:
            apart.diagonal(offset=start).fill_(math.inf)
        distances.append(apart.amin(1))
        densities.append(apart.square_().mul_(-0.5 / bandwidth**2).logsumexp(1))
    scale = math.log(number - leave_one_out) + dimensions * math.log(math.sqrt(2 * math.pi) * bandwidth)
    return torch.cat(densities) - scale, torch.cat(distances)
