"""Inception score of generated images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric, Range
from gancore_standard.metrics.distances import inception_score


class InceptionScore(Metric):
    """Inception score: how sure a classifier is of each image, and how diverse its answers are over all.

    Salimans et al. 2016 (arXiv:1606.03498), section 4: ``exp(E_x KL(p(y|x) || p(y)))``, from 1 to the number of classes.
    Comparable with published values only when the network is ``standard/inception``. Reports ``inception_score``, the mean over
    the splits, and ``inception_score_std``, their deviation (divided by the number of splits, as the original does).

    Args:
        network: Label of the frozen classifier whose logits (N, K) are used.
        splits: Into how many parts the images are split, in the order of generation.
    """

    better: ClassVar[Mapping[str, str]] = {"inception_score": "higher"}

    def __init__(self, *, network: str = "annotator", splits: Annotated[int, Range(1)] = 10) -> None:
        self.network = network
        self.splits = splits
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        # A split's marginal is not known before the last image is, so the logits are kept.
        self._logits: list[Tensor] = []

    def update(self, *, logits: Tensor) -> None:
        """Take in logits (N, K) of generated images."""
        self._logits.append(logits.detach())

    def protocol(self) -> dict[str, Any]:
        """Return the number of splits and the kind of deviation."""
        return {"splits": self.splits, "deviation": "population"}

    def compute(self) -> dict[str, Any]:
        """Return ``inception_score`` and ``inception_score_std``.

        Raises:
            GancoreError: No image yet, fewer images than splits, or logits that are not finite.
        """
        where = f"Inception score on the logits of {self.network!r}"
        if sum(map(len, self._logits)) < 2:
            raise GancoreError(f"{where}: it needs at least two generated images; give it more before asking for the score.")
        logits = torch.cat(self._logits)
        if not bool(torch.isfinite(logits).all()):
            raise GancoreError(f"{where}: the logits hold values that are not finite; check the network and its input.")
        try:
            mean, deviation = inception_score(logits.double().softmax(1), self.splits)
        except GancoreError as error:
            raise GancoreError(f"{where}: {error}") from error
        return {"inception_score": mean, "inception_score_std": deviation}
