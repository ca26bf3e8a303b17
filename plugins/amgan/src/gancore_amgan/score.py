"""The AM score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

import gancore

TINY = 1e-18
"""Added to every probability, as the authors' code does, so that a class that never occurs costs much instead of everything."""


class AMScore(gancore.Metric):
    """AM score: how unsure a classifier is of generated images, and how far their classes are from the data's; low is good.

    AM-GAN (arXiv:1703.02000, Eq. 27): KL(mean C(x) || mean C(G(z))) + E H(C(G(z))), in nats, the first mean over real images.
    Where the inception score is best for uniform classes, it is for the data's; its classifier is of the data's own classes.
    Reports ``am_score``, and its two terms, ``am_score_divergence`` and ``am_score_entropy``.

    Args:
        network: Label of the frozen classifier whose logits (N, K) are used.
    """

    better: ClassVar[Mapping[str, str]] = {
        "am_score": "lower",
        "am_score_divergence": "lower",
        "am_score_entropy": "lower",
    }
    least = 2

    def __init__(self, *, network: str = "annotator") -> None:
        self.network: str = network
        self._real: list[Tensor] = []
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._fake: list[Tensor] = []

    def update_real(self, *, logits: Tensor) -> None:
        """Take in logits (N, K) of real images."""
        self._real.append(logits.detach())

    def update(self, *, logits: Tensor) -> None:
        """Take in logits (N, K) of generated images."""
        self._fake.append(logits.detach())

    def compute(self) -> dict[str, Any]:
        """Return ``am_score``, ``am_score_divergence`` and ``am_score_entropy``.

        Raises:
            GancoreError: No image of a kind yet, logits that are not finite, or of two numbers of classes.
        """
        if not self._real or not self._fake:
            raise gancore.GancoreError(
                f"AM score by {self.network!r}: it needs real and generated images; give it some of each."
            )
        real, fake = torch.cat(self._real), torch.cat(self._fake)
        if not bool(real.isfinite().all() & fake.isfinite().all()):
            raise gancore.GancoreError(
                f"AM score by {self.network!r}: the logits hold values that are not finite; check the network and its input."
            )
        divergence, entropy = am_score(real.double().softmax(1), fake.double().softmax(1))
        return {"am_score": divergence + entropy, "am_score_divergence": divergence, "am_score_entropy": entropy}

    def real_state(self) -> dict[str, Tensor]:
        """Return the logits of the real images, ``logits`` (N, K), or nothing before there are any."""
        return {"logits": torch.cat(self._real).contiguous()} if self._real else {}

    def load_real_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `real_state` returned, in place of what was taken in of the real images.

        Raises:
            GancoreError: The state does not come from this metric.
        """
        if state.keys() - {"logits"} or any(logits.ndim != 2 for logits in state.values()):
            raise gancore.GancoreError(
                f"AM score by {self.network!r}: its stored statistics are not one matrix (N, K) of logits; compute them anew."
            )
        self._real = list(state.values())


def am_score(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Return the two terms of the AM score, the divergence of the classes and the entropy of an image's, in nats.

    Args:
        real: Class probabilities (N, K) of real images, float64.
        fake: Class probabilities (M, K) of generated ones, float64.

    Raises:
        GancoreError: The two have not one number of classes.
    """
    if real.ndim != 2 or fake.ndim != 2 or real.shape[1] != fake.shape[1]:
        raise gancore.GancoreError(
            f"The AM score compares probabilities (N, K) of one K, not of shapes {tuple(real.shape)} and {tuple(fake.shape)}."
        )
    real, fake = real + TINY, fake + TINY
    expected, drawn = real.mean(0), fake.mean(0)
    divergence = (expected * (expected / drawn).log()).sum()
    return float(divergence), float(-(fake * fake.log()).sum(1).mean())
