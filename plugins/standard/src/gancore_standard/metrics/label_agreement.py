"""Does a conditional generator make what it is asked for?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric


class LabelAgreement(Metric):
    """Share of generated images that a classifier gives the label that the generator was asked for.

    The accuracy of the pre-trained network on samples, by which Shmelkov et al. 2018 (arXiv:1807.09499, GAN-test) judge
    conditional generators. Reports ``agreement`` in [0, 1]; chance is 1 / K.

    Args:
        network: Label of the frozen classifier.
    """

    better: ClassVar[Mapping[str, str]] = {"agreement": "higher"}

    def __init__(self, *, network: str = "annotator") -> None:
        self.network = network
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._agreed: list[Tensor] = []

    def update(self, *, labels: Tensor, logits: Tensor) -> None:
        """Take in the labels (N,) int64 that were asked for and the classifier's logits (N, K)."""
        self._agreed.append((logits.argmax(1) == labels) & logits.isfinite().all(1))

    def compute(self) -> dict[str, Any]:
        """Return ``agreement``; an image whose logits are not finite agrees with nothing.

        Raises:
            GancoreError: No image was seen.
        """
        agreed = torch.cat(self._agreed) if self._agreed else torch.zeros(0)
        if not len(agreed):
            raise GancoreError(f"Label agreement by {self.network!r}: it needs at least one generated image.")
        return {"agreement": agreed.double().mean().item()}
