"""Scores: one of generated images alone, and one that compares them with real images, whose statistics can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

import gancore


class ClassHistogram(gancore.Metric):
    """Share of each class.

    Args:
        network: Label of the classifier that says which class an image is of.
    """

    better: ClassVar[Mapping[str, str]] = {"distinct_classes": "higher"}

    def __init__(self, *, network: str = "annotator") -> None:
        self.network = network
        self.reset()

    def reset(self) -> None:
        self._logits: list[Tensor] = []

    def update(self, *, logits: Tensor) -> None:
        self._logits.append(logits)

    def compute(self) -> dict[str, Any]:
        logits = torch.cat(self._logits)
        counts = torch.bincount(logits.argmax(1), minlength=logits.shape[1])
        return {"histogram": (counts / len(logits)).tolist(), "distinct_classes": int((counts > 0).sum())}


class MeanDistance(gancore.Metric):
    """Squared distance of the mean features of real and of generated images, under the name of the field's score.

    Args:
        network: Label of the classifier whose features they are.
    """

    better: ClassVar[Mapping[str, str]] = {"fid": "lower"}

    def __init__(self, *, network: str = "annotator") -> None:
        self.network = network
        self._real: list[Tensor] = []
        self.reset()

    def reset(self) -> None:
        self._fake: list[Tensor] = []

    def update_real(self, *, features: Tensor) -> None:
        self._real.append(features)

    def update(self, *, features: Tensor) -> None:
        self._fake.append(features)

    def compute(self) -> dict[str, Any]:
        return {"fid": float((torch.cat(self._real).mean(0) - torch.cat(self._fake).mean(0)).square().sum())}

    def real_state(self) -> dict[str, Tensor]:
        return {"features": torch.cat(self._real)}

    def load_real_state(self, state: Mapping[str, Tensor]) -> None:
        self._real = [state["features"]]


class NeighborDistance(MeanDistance):
    """One with a setting that its protocol tells.

    Args:
        network: Label of the classifier whose features they are.
        neighbors: A number.
    """

    def __init__(self, *, network: str = "annotator", neighbors: int = 5) -> None:
        super().__init__(network=network)
        self.neighbors = neighbors

    def protocol(self) -> dict[str, Any]:
        return {"neighbors": self.neighbors}
