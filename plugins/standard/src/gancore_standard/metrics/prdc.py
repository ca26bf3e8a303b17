"""How well real and generated images cover each other: precision and recall, density and coverage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Range
from gancore_standard.metrics.features import FeatureMetric, FeatureStore, of_one_width
from gancore_standard.subsets import evenly

BLOCK = 2**23
"""Distances that are held at a time: 64 MiB of float64."""

TIE = 1e-12
"""How far, relative to the squared norms of two centered points, their squared distance may be off by rounding.

A product of F terms is off by at most about F times float64's precision: 2.3e-13 for the 2048 features of Inception.
"""


class PrecisionRecall(FeatureMetric):
    """Precision, recall, density and coverage: which images of one side lie near images of the other.

    An image's ball reaches to its k-th nearest neighbor of its own side, itself not counted (a duplicate counts).

    - ``precision``, the share of generated images within any real image's ball, and ``recall``, the share of real images
      within any generated image's ball, from 0 to 1: Kynkäänniemi et al. 2019 (arXiv:1904.06991), section 2.
    - ``density``, in how many real images' balls a generated image lies on average, divided by k, 0 or more and possibly above
      1; and ``coverage``, the share of real images whose ball holds a generated image, from 0 to 1: Naeem et al. 2020
      (arXiv:2002.09797), section 3.

    A ball contains its boundary, as in the first paper; so a set has the precision, recall and coverage 1 with itself, whatever
    its duplicates (and the density (k + 1) / k where no distances tie). The public code of the second paper leaves the
    boundary out, which differs only where two distances are equal, e.g. where images are copies of each other.

    Distances are Euclidean, in float64, from inner products of centered features; one that exceeds a radius by no more than
    rounding counts as equal to it, so ties come out alike on every device. They are computed in blocks: memory grows with
    the number of images, not with its square.

    Args:
        network: Label of the frozen classifier whose features (N, F) are compared.
        neighbors: k, the neighbor that a ball reaches to; the first paper has 3, the second 5.
        samples: Most images of either side, more than `neighbors`; of more, as many are taken, evenly spread over their order.
    """

    better: ClassVar[Mapping[str, str]] = {
        "precision": "higher",
        "recall": "higher",
        "density": "higher",
        "coverage": "higher",
    }
    collector = FeatureStore

    def __init__(
        self,
        *,
        network: str = "annotator",
        neighbors: Annotated[int, Range(1)] = 5,
        samples: Annotated[int, Range(2)] = 10_000,
    ) -> None:
        if samples <= neighbors:
            raise GancoreError(
                f"precision and recall by {neighbors} neighbors need more than {neighbors} images, but samples = {samples}; "
                "set more samples or fewer neighbors."
            )
        super().__init__(network=network)
        self.neighbors = neighbors
        self.least = neighbors + 1
        self.samples = samples
        self._real_radii: Tensor | None = None

    def update_real(self, *, features: Tensor) -> None:
        """Take in features (N, F) of real images."""
        self._real_radii = None
        super().update_real(features=features)

    def load_real_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `real_state` returned, in place of what was taken in of the real images.

        Raises:
            GancoreError: The state does not come from this metric.
        """
        self._real_radii = None
        super().load_real_state(state)

    def protocol(self) -> dict[str, Any]:
        """Return the neighbor, which images are taken, how distances are compared, and a warning of few images."""
        return {
            "neighbors": self.neighbors,
            # Not `samples`, under which core says how many images are generated.
            "most_images": self.samples,
            "images_taken": "evenly spread",
            "balls": "closed",
            "distances_in": "float64",
            **self.few_for_features("balls around so few images say little of where a distribution is"),
        }

    def compute(self) -> dict[str, Any]:
        """Return ``precision``, ``recall``, ``density`` and ``coverage``.

        Raises:
            GancoreError: No more images of either kind than neighbors, features that are not finite, or of different widths.
        """
        try:
            pair = of_one_width(self._real, self._fake, least=self.neighbors + 1)
        except GancoreError as error:
            raise GancoreError(
                f"Precision and recall by {self.neighbors} neighbors on the features of {self.network!r}: {error}"
            ) from error
        real, fake = (evenly(rows, self.samples).double() for rows in pair)
        # Distances don't depend on the origin, but inner products round the less the nearer to it the points are.
        center = real.mean(0)
        real, fake = real - center, fake - center
        if self._real_radii is None:
            self._real_radii = _radii(real, self.neighbors)
        real_radii, fake_radii = self._real_radii, _radii(fake, self.neighbors)
        balls = torch.zeros(len(fake), dtype=torch.int64, device=fake.device)
        recalled, covered = [], []
        for start, distances in _blocks(real, fake, slack=TIE):
            inside = distances <= real_radii[start : start + len(distances), None]
            balls += inside.sum(0)
            covered.append(inside.any(1))
            recalled.append((distances <= fake_radii).any(1))
        return {
            "precision": float((balls > 0).double().mean()),
            "recall": float(torch.cat(recalled).double().mean()),
            "density": float(balls.double().mean()) / self.neighbors,
            "coverage": float(torch.cat(covered).double().mean()),
        }


def _radii(points: Tensor, neighbor: int) -> Tensor:
    """Return the squared distance (N,) of each point (N, F) to its k-th nearest other point; N is above k."""
    radii = []
    for start, distances in _blocks(points, points):
        # By place, not as the smallest distance: a duplicate is as near as the point itself.
        distances.diagonal(start).fill_(math.inf)
        radii.append(distances.topk(neighbor, largest=False).values[:, -1])
    return torch.cat(radii)


def _blocks(a: Tensor, b: Tensor, slack: float = 0.0) -> Iterator[tuple[int, Tensor]]:
    """Yield squared distances of points (N, F) to points (M, F), block by block.

    Args:
        a: Points of the rows.
        b: Points of the columns.
        slack: What to take off each squared distance, relative to the sum of the two points' squared norms.

    Yields:
        The block's first row, and its distances (rows, M).
    """
    squares = [(1 - slack) * points.square().sum(1) for points in (a, b)]
    rows = max(1, BLOCK // len(b))
    for start in range(0, len(a), rows):
        block = slice(start, start + rows)
        yield start, torch.addmm(squares[1][None], a[block], b.T, alpha=-2).add_(squares[0][block, None])
