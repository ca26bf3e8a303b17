"""How generated images spread over the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError, Metric, Range
from gancore_standard.metrics.features import few_images
from gancore_standard.metrics.float64 import as_float64


class ClassHistogram(Metric):
    """Share of each class among generated images, as an annotator labels them, and its divergence from uniform.

    CBGAN (OpenReview:yEnaS6yOkxy, section 4.1): each image counts for the class of its largest logit. Reports ``kl``,
    KL(P || U) in nats, from 0 to log K; ``histogram``, the share of each class; and ``distinct_classes``, how many
    classes occur.

    Args:
        network: Label of the frozen classifier that labels; the paper's is trained on balanced data.
        smoothing: Added to every share in ``kl``; the public code's 1e-5, or 0 for the exact divergence.
    """

    better: ClassVar[Mapping[str, str]] = {"kl": "lower", "distinct_classes": "higher"}
    least = 2

    def __init__(self, *, network: str = "annotator", smoothing: Annotated[float, Range(0)] = 1e-5) -> None:
        self.network = network
        self.smoothing = smoothing
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._images = 0
        self._counts: Tensor | None = None
        self._finite: Tensor | None = None

    def update(self, *, logits: Tensor) -> None:
        """Take in logits (N, K) of generated images.

        Raises:
            GancoreError: Logits that are no matrix, or of another number of classes than before.
        """
        if logits.ndim != 2 or (self._counts is not None and logits.shape[1] != len(self._counts)):
            raise GancoreError(
                f"Class histogram by {self.network!r}: logits of the shape {tuple(logits.shape)} don't fit; "
                "they must be (N, K), with one K for all batches."
            )
        # A comparison with every class, because bincount waits for the device to learn the largest label.
        classes = torch.arange(logits.shape[1], device=logits.device)
        counts = (logits.argmax(1, keepdim=True) == classes).sum(0)
        finite = torch.isfinite(logits).all()
        self._counts = counts if self._counts is None else self._counts + counts
        self._finite = finite if self._finite is None else self._finite & finite
        self._images += len(logits)

    def protocol(self) -> dict[str, Any]:
        """Return the smoothing of the divergence, and a warning of few images."""
        least = 0 if self._counts is None else len(self._counts)
        why = "not every class can occur, and the divergence is too high"
        return {"kl_smoothing": self.smoothing, **few_images(least, self._images, least, why)}

    def compute(self) -> dict[str, Any]:
        """Return ``kl``, ``histogram`` and ``distinct_classes``.

        Raises:
            GancoreError: Fewer than two images, or logits that are not finite.
        """
        where = f"Class histogram by {self.network!r}"
        if self._counts is None or self._finite is None or self._images < 2:
            raise GancoreError(f"{where}: it needs at least two generated images; give it more before asking for the score.")
        if not bool(self._finite):
            raise GancoreError(f"{where}: the logits hold values that are not finite; check the network and its input.")
        counts = self._counts.tolist()
        return {
            "kl": kl_to_uniform(counts, self.smoothing),
            "histogram": [count / self._images for count in counts],
            "distinct_classes": sum(count > 0 for count in counts),
        }


def kl_to_uniform(counts: Any, smoothing: float = 1e-5) -> float:
    """Return how far class counts are from uniform, in nats: 0 when all are equal, at most log K.

    ``sum_k (P_k + s) log((P_k + s) / (1 / K + s))`` with ``P = counts / sum(counts)``: the KL of CBGAN (OpenReview:yEnaS6yOkxy,
    section 4.1), whose public code adds s = 1e-5. With ``smoothing = 0`` it is the exact KL(P || U).

    Args:
        counts: Samples per class (K,), or their shares.
        smoothing: s, at least 0.

    Raises:
        GancoreError: No count above 0, a negative or not finite one, or a negative smoothing.
    """
    count = as_float64(counts)
    if count.ndim != 1 or not bool((count >= 0).all()) or not bool(torch.isfinite(count).all()) or not float(count.sum()) > 0:
        raise GancoreError(
            "The divergence from uniform needs finite class counts (K,), none negative and one at least above 0."
        )
    if not smoothing >= 0:
        raise GancoreError(f"The smoothing of the divergence from uniform must be at least 0, not {smoothing!r}.")
    probability = count / count.sum() + smoothing
    return float(torch.special.xlogy(probability, probability / (1 / len(count) + smoothing)).sum())
