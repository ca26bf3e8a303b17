"""How many modes of the data a generator covers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric, Range
from gancore_standard.metrics.features import few_images
from gancore_standard.metrics.float64 import as_float64

STATE = ("counts", "sums", "squares")


class Modes(Metric):
    """Modes of the data that generated images cover, for data each of whose classes is a mode, e.g. points in the plane.

    Srivastava et al. 2017 (arXiv:1705.07761), section 5.1: a generated image is *good* if it lies within `deviations` standard
    deviations of the mode whose mean is nearest, and a mode is covered if at least one good image is nearest to it. Reports
    ``covered``, from 0 to the number of modes, and ``good``, the share of good images. Means are those of the real images of
    each class, and the standard deviation is the root of their mean squared distance from their own mean in one dimension, over
    all modes; so the score knows the data alone, whatever set they are of.

    Args:
        classes: Number of classes K, from core.
        deviations: How far a good image may lie; the paper's 3.
        images: Good images that cover a mode; the paper's 1.
    """

    better: ClassVar[Mapping[str, str]] = {"covered": "higher", "good": "higher"}
    least = 2

    def __init__(
        self,
        *,
        classes: int,
        deviations: Annotated[float, Range(0, open_low=True)] = 3.0,
        images: Annotated[int, Range(1)] = 1,
    ) -> None:
        self.classes = classes
        self.deviations = deviations
        self.images = images
        self._real: dict[str, Tensor] = {}
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._generated: list[Tensor] = []

    def update_real(self, *, images: Tensor, labels: Tensor) -> None:
        """Take in real images (N, C, H, W) and their labels (N,)."""
        points = as_float64(images).flatten(1)
        members = torch.nn.functional.one_hot(labels.cpu(), self.classes).double()
        batch = dict(zip(STATE, (members.sum(0), members.T @ points, members.T @ points.square()), strict=True))
        self._real = {name: self._real[name] + value for name, value in batch.items()} if self._real else batch

    def update(self, *, images: Tensor) -> None:
        """Take in generated images (N, C, H, W)."""
        self._generated.append(as_float64(images).flatten(1))

    def real_state(self) -> dict[str, Tensor]:
        """Return counts (K,), sums and sums of squares (K, C H W) of the real images of each class."""
        return dict(self._real)

    def load_real_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `real_state` returned, in place of what was taken in of the real images.

        Raises:
            GancoreError: The state does not come from this metric.
        """
        if state and state.keys() != set(STATE):
            raise GancoreError("The stored statistics of modes are not those of this score; compute them anew from the images.")
        self._real = dict(state)

    def protocol(self) -> dict[str, Any]:
        """Return what a good image and a covered mode are, and a warning of few images."""
        number = sum(map(len, self._generated))
        why = "not every mode can be covered"
        return {
            "deviations": self.deviations,
            "images_to_cover": self.images,
            "modes": len(self._modes()[0]) if self._real else 0,
            **few_images(self.classes, number, self.classes * self.images, why),
        }

    def compute(self) -> dict[str, Any]:
        """Return ``covered`` and ``good``.

        Raises:
            GancoreError: No images of either kind, or of different sizes.
        """
        if not self._real or not self._generated:
            raise GancoreError("Modes are those of real images that generated ones cover; give the score some of both.")
        means, deviation = self._modes()
        points = torch.cat(self._generated)
        if points.shape[1] != means.shape[1]:
            raise GancoreError(
                f"Modes: real images have {means.shape[1]} values and generated ones {points.shape[1]}; give them one size."
            )
        distance, nearest = torch.cdist(points, means, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        good = distance <= self.deviations * deviation
        covered = torch.bincount(nearest[good], minlength=len(means)) >= self.images
        return {"covered": int(covered.sum()), "good": float(good.double().mean())}

    def _modes(self) -> tuple[Tensor, Tensor]:
        """Return the means (M, C H W) of the classes that occur, and the standard deviation in one dimension, a scalar."""
        counts, sums, squares = (self._real[name] for name in STATE)
        occur = counts > 0
        means = sums[occur] / counts[occur, None]
        variance = (squares.sum(0) - (counts[occur, None] * means.square()).sum(0)) / counts.sum()
        return means, variance.clamp_min(0).mean().sqrt()
