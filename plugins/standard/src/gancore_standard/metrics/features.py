"""Features of images that a score stores until it has all of them, and what scores of features have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric
from gancore.tools import listed


def few_images(real: int, fake: int, least: int, why: str, of: str = "") -> dict[str, str]:
    """Return the entry ``warning`` of a protocol where a score is of too few images, and no entry where it is not.

    Args:
        real: Number of real images.
        fake: Number of generated images; 0 before any was seen, when there is no score to warn of.
        least: How many of either are enough.
        why: What is wrong with fewer, a clause.
        of: Which images, e.g. ``" of class 3"``.
    """
    counts = {"real": real, "generated": fake}
    few = [f"only {number} {kind} images{of}" for kind, number in counts.items() if number < least]
    if not few or not fake:
        return {}
    return {"warning": f"{' and '.join(few)}, fewer than {least}: {why}"}


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

    @property
    def count(self) -> int:
        """How many features there are, N."""
        return sum(map(len, self._batches))

    @property
    def width(self) -> int:
        """Their width F; 0 before the first batch."""
        return self._batches[0].shape[1] if self._batches else 0

    def all(self, least: int) -> Tensor:
        """Return all features (N, F), in the order and the type in which they came.

        Args:
            least: The smallest N that will do.

        Raises:
            GancoreError: Fewer, or a feature that is not finite.
        """
        if self.count < least:
            raise GancoreError(
                f"at least {least} images of each kind are needed, but there are {self.count} of {self.of}; give more."
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

    least = 2

    collector: ClassVar[type[Any]]
    """Takes in the features of one side, e.g. `FeatureStore`, and knows their ``count`` and ``width``; called with what the
    features are of."""

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

    def few_for_features(self, why: str) -> dict[str, str]:
        """Return the entry ``warning`` of a protocol where either kind of images does not outnumber the features."""
        return few_images(self._real.count, self._fake.count, self._real.width + 1, why)

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
