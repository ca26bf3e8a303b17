"""What sets of points in the plane have in common: how they are drawn, and that their densities are known."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import gancore
from gancore_standard.datasets.splits import SPLITS

DEVIATIONS = 5
"""Standard deviations of normal noise for which there must be room within [-1, 1]: 3e-7 of it lies beyond, on each side."""

Points = Annotated[int, gancore.Range(4)]
Seed = Annotated[int, gancore.Range(0)]
Floats = NDArray[np.float64]


class Plane(gancore.Dataset):
    """Points in the plane as images of two channels and one pixel.

    Args:
        samples: Number of training points; of test points there are a quarter.
        seed: Of the points. A set is a function of its settings, whatever the run's seed.
    """

    def __init__(self, *, samples: Points = 20000, seed: Seed = 0) -> None:
        self.samples = samples
        self.seed = seed

    @property
    def info(self) -> gancore.DatasetInfo:
        """What is known before a point is drawn."""
        names = self._class_names()
        return gancore.DatasetInfo(classes=len(names), channels=2, image_size=1, class_names=names, continuous=True)

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return points (N, 2, 1, 1) float32 in [-1, 1] and labels (N,) int64 of ``"train"`` or ``"test"``.

        The classes take turns. The same settings give the same points on every machine.

        Raises:
            GancoreError: There is no such split.
        """
        if split not in SPLITS:
            raise gancore.GancoreError(
                f"Points in the plane have the splits 'train' and 'test', not {split!r}; name one of them."
            )
        number = self.samples if split == "train" else self.samples // 4
        labels = np.arange(number) % self.info.classes
        points = self._draw(labels, np.random.default_rng([self.seed, SPLITS.index(split)]))
        # The normal noise's last tail, for which `DEVIATIONS` leaves no room.
        images = torch.from_numpy(points).float().clamp_(-1, 1)
        return images[:, :, None, None], torch.from_numpy(labels)

    def density(self, points: Tensor) -> Tensor:
        """Return the density of all classes together, per unit of area, at points (M, 2): (M,) float64.

        Raises:
            GancoreError: The points are of another shape.
        """
        if points.ndim != 2 or points.shape[1] != 2:
            raise gancore.GancoreError(f"A density in the plane needs points of the shape (M, 2), not {tuple(points.shape)}.")
        return self._density(points.detach().double())

    def _class_names(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _draw(self, labels: NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """Return a point of each label: (N, 2)."""
        raise NotImplementedError

    def _density(self, points: Tensor) -> Tensor:
        raise NotImplementedError


def normals(points: Tensor, centers: Tensor, deviation: float) -> Tensor:
    """Return the density (M,) of an even mixture of round normal distributions, at points (M, 2)."""
    # By products: in float64 their cancellation costs some 1e-12 of a density.
    inner = torch.addmm(-centers.square().sum(1) / 2, points, centers.T).sub_(points.square().sum(1, keepdim=True) / 2)
    return inner.div_(deviation**2).exp_().mean(1) / (2 * math.pi * deviation**2)
