"""Mean and covariance of features that come in batches."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gancore import GancoreError
from gancore.tools import listed


class Moments:
    """Mean and unbiased covariance of features that come in batches, in float64, in one pass.

    Batches are merged by the update of Chan, Golub and LeVeque (1979, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", Eq. 2.1), which centers each batch before it squares; so a mean that is large beside the
    spread costs no digits. `update` only queues work on the features' device and never waits for it.

    Args:
        of: What the features are of, for errors, e.g. ``"the real images"``.
    """

    def __init__(self, of: str = "the samples") -> None:
        self.of = of
        self.count = 0
        self._mean: Tensor | None = None
        self._scatter: Tensor | None = None

    @property
    def width(self) -> int:
        """Width F of the features; 0 before the first batch."""
        return 0 if self._mean is None else len(self._mean)

    def update(self, features: Tensor) -> None:
        """Take in a batch of features (N, F).

        Raises:
            GancoreError: The features are no matrix, or their width F is not that of the batches before.
        """
        if features.ndim != 2:
            raise GancoreError(f"The features of {self.of} have the shape {tuple(features.shape)}; they must be (N, F).")
        number, width = features.shape
        batch = features.detach().double()
        if self._mean is None or self._scatter is None:
            self._mean = batch.new_zeros(width)
            self._scatter = batch.new_zeros(width, width)
        if width != len(self._mean):
            raise GancoreError(
                f"The features of {self.of} change their width from {len(self._mean)} to {width}; give them one width."
            )
        if number == 0:
            return
        mean = batch.mean(0)
        centered = batch - mean
        difference = mean - self._mean
        total = self.count + number
        self._scatter.addmm_(centered.T, centered)
        self._scatter.addr_(difference, difference, alpha=self.count * number / total)
        self._mean.add_(difference, alpha=number / total)
        self.count = total

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the mean (F,) and the covariance (F, F), divided by N - 1 as `numpy.cov` does.

        Raises:
            GancoreError: Fewer than two samples, or a feature that is not finite.
        """
        if self._mean is None or self._scatter is None or self.count < 2:
            raise GancoreError(f"A covariance needs at least two samples, but there are {self.count} of {self.of}; give more.")
        # A value that is not finite stays in the mean, so one look at the end finds it.
        if not bool(torch.isfinite(self._mean).all()):
            raise GancoreError(f"The features of {self.of} hold values that are not finite; check the network and its input.")
        return self._mean.clone(), self._scatter / (self.count - 1)

    def state(self) -> dict[str, Tensor]:
        """Return what was taken in, by name, as contiguous tensors on the features' device.

        Nothing before the first batch; then ``count`` () int64, ``mean`` (F,) and ``scatter`` (F, F) float64, which is the sum
        of the outer products of the centered features. `load_state` goes on from it to the last bit.
        """
        if self._mean is None or self._scatter is None:
            return {}
        count = torch.tensor(self.count, dtype=torch.int64, device=self._mean.device)
        return {"count": count, "mean": self._mean.clone(), "scatter": self._scatter.clone()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` returned, in place of what was taken in.

        Raises:
            GancoreError: The state holds anything else.
        """
        if not state:
            self.count, self._mean, self._scatter = 0, None, None
            return
        if state.keys() != {"count", "mean", "scatter"} or not _are_moments(**state):
            raise GancoreError(
                f"The stored moments of {self.of} hold {listed(sorted(state))}, not a count, a mean (F,) and a scatter (F, F) "
                "in float64; compute them anew from the images."
            )
        self.count = int(state["count"])
        self._mean, self._scatter = state["mean"].clone(), state["scatter"].clone()


def _are_moments(count: Tensor, mean: Tensor, scatter: Tensor) -> bool:
    width = mean.numel()
    shapes = [tuple(tensor.shape) for tensor in (count, mean, scatter)]
    return shapes == [(), (width,), (width, width)] and mean.dtype == scatter.dtype == torch.float64
