"""Fréchet distance between the features of real and of generated images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from gancore import GancoreError, Metric
from gancore_standard.metrics.distances import Moments, frechet_distance


class FrechetDistance(Metric):
    """Fréchet distance of two normal distributions, fitted to the features of real and of generated images.

    Heusel et al. 2017 (arXiv:1706.08500), Eq. 6. With ``standard/inception`` as the network it is the FID; features of another
    classifier give another scale, which the protocol keeps apart. Reports ``fid``, 0 or more.

    Args:
        network: Label of the frozen classifier whose features (N, F) are compared.
    """

    better: ClassVar[Mapping[str, str]] = {"fid": "lower"}

    def __init__(self, *, network: str = "annotator") -> None:
        self.network = network
        self._real = Moments("the real images")
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._fake = Moments("the generated images")

    def update_real(self, *, features: Tensor) -> None:
        """Take in features (N, F) of real images."""
        self._real.update(features)

    def update(self, *, features: Tensor) -> None:
        """Take in features (N, F) of generated images."""
        self._fake.update(features)

    def real_state(self) -> dict[str, Tensor]:
        """Return the moments of the real images' features, as `Moments.state` does."""
        return self._real.state()

    def load_real_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the moments of the real images from `real_state`, in place of those taken in.

        Raises:
            GancoreError: The state is none of this metric.
        """
        self._real.load_state(state)

    def protocol(self) -> dict[str, Any]:
        """Return how the moments are computed."""
        return {"covariance": "unbiased", "moments_in": "float64"}

    def compute(self) -> dict[str, Any]:
        """Return ``fid``.

        Raises:
            GancoreError: Fewer than two images of either kind, features that are not finite, or of different widths.
        """
        try:
            return {"fid": frechet_distance(*self._real.result(), *self._fake.result())}
        except GancoreError as error:
            raise GancoreError(f"Fréchet distance on the features of {self.network!r}: {error}") from error
