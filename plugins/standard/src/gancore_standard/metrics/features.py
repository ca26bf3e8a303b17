"""Features of images that a score stores until it has all of them, and what scores of features have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric
from gancore.tools import listed


class FeatureStore:
    """Features that come in batches and are all needed at the end. Taking one in never waits for the device.

    Args:
        of: What the features are of, for errors, e.g. ``"the real images"``.
    """

    def __init__(self, of: str) -> None:
        self.of = of
        self._batches: list[Tensor] = []

    def update(self, features: Tensor) -> None:
        """Take in a batch of features (N, F).

        Raises:
            GancoreError: The features are no matrix, or their width F is not that of the batches before.
        """
        if features.ndim != 2 or features.shape[1] == 0:
            raise GancoreError(f"The features of {self.of} have the shape {tuple(features.shape)}; they must be (N, F).")
        if self._batches and features.shape[1] != self._batches[0].shape[1]:
            raise GancoreError(
                f"The features of {self.of} change their width from {self._batches[0].shape[1]} to {features.shape[1]}; "
                "give them one width."
            )
        self._batches.append(features.detach())

    def all(self, least: int) -> Tensor:
        """Return all features (N, F), in the order and the type in which they came.

        Args:
            least: The smallest N that will do.

        Raises:
            GancoreError: Fewer, or a feature that is not finite.
        """
        count = sum(map(len, self._batches))
        if count < least:
            raise GancoreError(
                f"at least {least} images of each kind are needed, but there are {count} of {self.of}; give more."
            )
        if len(self._batches) > 1:
            # Real features are asked for at every evaluation; the batches are put together once.
            self._batches = [torch.cat(self._batches)]
        (features,) = self._batches
        if not bool(torch.isfinite(features).all()):
            raise GancoreError(f"The features of {self.of} hold values that are not finite; check the network and its input.")
        return features

    def state(self) -> dict[str, Tensor]:
        """Return what was taken in, by name, as contiguous tensors: nothing, or ``features`` (N, F) in the order they came."""
        if not self._batches:
            return {}
        if len(self._batches) > 1:
            self._batches = [torch.cat(self._batches)]
        return {"features": self._batches[0].contiguous()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` returned, in place of what was taken in.

        Raises:
            GancoreError: The state holds anything but features (N, F).
        """
        if not state:
            self._batches = []
            return
        if state.keys() != {"features"} or state["features"].ndim != 2:
            raise GancoreError(
                f"The stored features of {self.of} hold {listed(sorted(state))}, not one matrix (N, F) features; "
                "compute them anew from the images."
            )
        self._batches = [state["features"]]


class FeatureMetric(Metric):
    """A score of the features of real and of generated images, those of the real ones taken in once for all evaluations.

    A subclass names its `collector` and has ``compute``.

    Args:
        network: Label of the frozen classifier whose features (N, F) are compared.
    """

    collector: ClassVar[type[Any]]
    """Takes in the features of one side, e.g. `FeatureStore`; called with what the features are of."""

    def __init__(self, *, network: str) -> None:
        self.network: str = network
        self._real = self.collector("the real images")
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._fake = self.collector("the generated images")

    def update_real(self, *, features: Tensor) -> None:
        """Take in features (N, F) of real images."""
        self._real.update(features)

    def update(self, *, features: Tensor) -> None:
        """Take in features (N, F) of generated images."""
        self._fake.update(features)

    def real_state(self) -> dict[str, Tensor]:
        """Return what was taken in of the real images, by name."""
        state: dict[str, Tensor] = self._real.state()
        return state

    def load_real_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `real_state` returned, in place of what was taken in of the real images.

        Raises:
            GancoreError: The state does not come from this metric.
        """
        self._real.load_state(state)


def of_one_width(real: FeatureStore, fake: FeatureStore, least: int) -> tuple[Tensor, Tensor]:
    """Return all features of real (N, F) and of generated images (M, F).

    Args:
        real: Features of real images.
        fake: Features of generated images.
        least: The smallest N and M that will do.

    Raises:
        GancoreError: Fewer of either, a feature that is not finite, or two widths.
    """
    a, b = real.all(least), fake.all(least)
    if a.shape[1] != b.shape[1]:
        raise GancoreError(
            f"The features of {real.of} have the width {a.shape[1]}, those of {fake.of} {b.shape[1]}; give them one width."
        )
    return a, b
