"""Inception score of generated images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric, Range
from gancore_standard.metrics.features import few_images
from gancore_standard.metrics.float64 import as_float64


class InceptionScore(Metric):
    """Inception score: how sure a classifier is of each image, and how diverse its answers are over all.

    Salimans et al. 2016 (arXiv:1606.03498), section 4: ``exp(E_x KL(p(y|x) || p(y)))``, from 1 to the number of classes.
    Comparable with published values only when the network is ``standard/inception``. Reports ``inception_score``, the mean over
    the splits, and ``inception_score_std``, their deviation (divided by the number of splits, as the original does).

    Args:
        network: Label of the frozen classifier whose logits (N, K) are used.
        splits: How many splits the images are cut into, in the order of generation.
    """

    better: ClassVar[Mapping[str, str]] = {"inception_score": "higher"}

    def __init__(self, *, network: str = "annotator", splits: Annotated[int, Range(1)] = 10) -> None:
        self.network = network
        self.splits = splits
        self.least = max(2, splits)
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        # A split's marginal is not known before the last image is, so the logits are kept.
        self._logits: list[Tensor] = []

    def update(self, *, logits: Tensor) -> None:
        """Take in logits (N, K) of generated images."""
        self._logits.append(logits.detach())

    def protocol(self) -> dict[str, Any]:
        """Return the number of splits, the kind of deviation, and a warning of few images."""
        number = sum(map(len, self._logits))
        least = self.splits * self._logits[0].shape[1] if self._logits else 0
        why = "a split has fewer images than there are classes, and the score is too low"
        return {"splits": self.splits, "deviation": "population", **few_images(least, number, least, why)}

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


def inception_score(probabilities: Any, splits: int = 10, *, unbiased: bool = False) -> tuple[float, float]:
    """Return mean and standard deviation, over splits, of ``exp(E_x KL(p(y|x) || p(y)))``, between 1 and K.

    Salimans et al. 2016 (arXiv:1606.03498), section 4: split i holds the samples ``i N // S`` to ``(i + 1) N // S``, and
    ``p(y)`` is the mean over the split. A probability of 0 adds nothing.

    Args:
        probabilities: Class probabilities (N, K), each row adding up to 1.
        splits: Number of splits S.
        unbiased: Divide the variance by S - 1 instead of S as the original does.

    Raises:
        GancoreError: Rows that are no probabilities, more splits than samples, or `unbiased` with a single split.
    """
    p = as_float64(probabilities)
    if p.ndim != 2 or p.numel() == 0:
        raise GancoreError(f"The Inception score needs class probabilities (N, K), not the shape {tuple(p.shape)}.")
    if not 1 <= splits <= len(p):
        raise GancoreError(
            f"The Inception score can't split {len(p)} samples into {splits}; give more samples or set fewer splits."
        )
    # Comparisons with a value that is not a number are false, so this refuses those as well.
    if not bool(((p >= 0).all() & ((p.sum(1) - 1).abs() < 1e-3).all()).item()):
        raise GancoreError("The Inception score needs rows of finite probabilities that add up to 1; apply a softmax first.")
    if unbiased and splits == 1:
        raise GancoreError("The Inception score of a single split has no unbiased deviation; set more splits.")
    scores = []
    for i in range(splits):
        split = p[i * len(p) // splits : (i + 1) * len(p) // splits]
        marginal = split.mean(0)
        divergence = torch.special.xlogy(split, split).sum(1).mean() - torch.special.xlogy(marginal, marginal).sum()
        scores.append(divergence.exp())
    each = torch.stack(scores)
    return float(each.mean()), float(each.std(correction=int(unbiased)))
