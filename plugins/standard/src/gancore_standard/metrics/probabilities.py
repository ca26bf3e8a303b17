"""What a classifier thinks of generated images before it decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric
from gancore_standard.metrics.features import few_images
from gancore_standard.metrics.histogram import kl_to_uniform


class ClassProbabilities(Metric):
    """Divergence from uniform of a classifier's mean prediction on generated images, and how unsure it is of each.

    With p = softmax(C(G(z))) of each image, reports ``soft_kl``, KL(E p || U) in nats, from 0 to log K; ``entropy``, the mean
    entropy E H(p) in nats, from 0 to log K; and ``mean_probabilities``, E p. ``standard/class-histogram`` counts decisions;
    this is what a regularizer of the mean prediction sees (CBGAN, OpenReview:yEnaS6yOkxy, Eq. 7): a low ``soft_kl`` beside a
    high ``kl`` of the same network says that unsure predictions meet it. log K - ``soft_kl`` - ``entropy`` is the logarithm of
    the inception score of one split.

    Args:
        network: Label of the frozen classifier.
    """

    better: ClassVar[Mapping[str, str]] = {"soft_kl": "lower", "entropy": "lower"}
    least = 2

    def __init__(self, *, network: str = "annotator") -> None:
        self.network = network
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._images = 0
        self._probabilities: Tensor | None = None
        self._entropy: Tensor | None = None

    def update(self, *, logits: Tensor) -> None:
        """Take in logits (N, K) of generated images.

        Raises:
            GancoreError: Logits that are no matrix, or of another number of classes than before.
        """
        before = self._probabilities
        if logits.ndim != 2 or (before is not None and logits.shape[1] != len(before)):
            raise GancoreError(
                f"Class probabilities by {self.network!r}: logits of the shape {tuple(logits.shape)} don't fit; "
                "they must be (N, K), with one K for all batches."
            )
        p = logits.detach().double().softmax(1)
        # A class that is ruled out (probability 0) adds nothing to the entropy.
        entropy = -torch.special.xlogy(p, p).sum()
        self._probabilities = p.sum(0) if before is None else before + p.sum(0)
        self._entropy = entropy if self._entropy is None else self._entropy + entropy
        self._images += len(logits)

    def protocol(self) -> dict[str, Any]:
        """Return a warning of few images."""
        least = 0 if self._probabilities is None else len(self._probabilities)
        return few_images(least, self._images, least, "the mean prediction is that of a few, and its divergence too high")

    def compute(self) -> dict[str, Any]:
        """Return ``soft_kl``, ``entropy`` and ``mean_probabilities``.

        Raises:
            GancoreError: Fewer than two images, or logits that are not finite.
        """
        where = f"Class probabilities by {self.network!r}"
        if self._probabilities is None or self._entropy is None or self._images < 2:
            raise GancoreError(f"{where}: it needs at least two generated images; give it more before asking for the score.")
        mean = (self._probabilities / self._images).tolist()
        entropy = float(self._entropy) / self._images
        if not bool(self._probabilities.isfinite().all()):
            raise GancoreError(f"{where}: the logits hold values that are not finite; check the network and its input.")
        return {"soft_kl": kl_to_uniform(mean, smoothing=0.0), "entropy": entropy, "mean_probabilities": mean}
