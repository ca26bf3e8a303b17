"""The class-balancing regularizer of CBGAN (Rangwani et al., ICLR 2021 submission, OpenReview:yEnaS6yOkxy, Eq. 5-9)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

import gancore
from gancore import global_mean, global_sum

Normalization = Literal["code", "paper"]


class ClassBalance(gancore.LossTerm):
    """Weighted negative entropy of a classifier's mean prediction on generated images (CBGAN Eq. 7, 9).

    The generator minimizes sum_k w_k p_k log p_k, where p (K,) is the mean of softmax(C(G(z))) over the batch of all
    processes and w_k is inverse to the class's effective count N_k. So dL/dp_k = w_k (1 + log p_k), and at the minimum
    p_k <= exp(-K (log K - 1) Nhat_k - 1) with Nhat = N / sum N (Eq. 8). The paper prints "max" in Eq. 7 and a minus in Eq. 9;
    its proof, its bound and its code minimize with a plus. Since p log p falls only until p = 1/e, the term favors rare
    classes for K >= 3; two classes it does not balance.

    Every step of the generator adds the classifier's hard decisions to counts c. After `cycle` steps (Eq. 5)
    N_k <- max(1, (1 - momentum) N_k + momentum c_k) and c <- 0; no gradient flows into w. This is the authors' code. The
    paper's text, N_k <- (1 - momentum) N_k + c_k, is the same up to a factor, which cancels in w: its start N = 50 is here
    ``initial = 50 * momentum``.

    Args:
        classes: Number of classes K of the classifier; core supplies the data set's.
        cycle: Steps of the generator between two updates of N.
        momentum: Share of the new counts in N (alpha).
        normalization: Scale of the weights. ``"code"``: w_k = K (1/N_k) / sum_j (1/N_j), with mean 1. ``"paper"`` (Eq. 6, 7):
            w_k = (1/K) / Nhat_k. They are the harmonic and the arithmetic mean of N, over N_k: equal for equal N, else the
            paper's are larger.
        initial: N_k at the start, the same for all classes.
        first_cycle: What c_k starts from in the first cycle, and only there.
        initial_counts: N_k at the start by class, in the place of `initial`. With a cycle longer than the training they stay,
            as in Figure 1b.

    Raises:
        GancoreError: `initial_counts` are not one for each class, or one is below 1.
    """

    mean_over_images = False

    effective_counts: Tensor
    counts: Tensor
    steps: Tensor
    class_weights: Tensor
    class_index: Tensor

    def __init__(
        self,
        *,
        classes: Annotated[int, gancore.Range(1)],
        cycle: Annotated[int, gancore.Range(1)] = 2000,
        momentum: Annotated[float, gancore.Range(0, 1)] = 0.5,
        normalization: Normalization = "code",
        initial: Annotated[float, gancore.Range(1)] = 50.0,
        first_cycle: Annotated[float, gancore.Range(0)] = 512.0,
        initial_counts: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.cycle = cycle
        self.momentum = momentum
        self.normalization: Normalization = normalization
        # float64: sums of a long cycle stay whole numbers.
        effective_counts = torch.full((classes,), initial, dtype=torch.float64)
        if initial_counts is not None:
            if len(initial_counts) != classes or not min(initial_counts) >= 1:
                raise gancore.GancoreError(
                    f"cbgan/class-balance: initial_counts are {classes} numbers of at least 1, one for each class, "
                    f"not {initial_counts}."
                )
            effective_counts = torch.tensor(initial_counts, dtype=torch.float64)
        self.register_buffer("effective_counts", effective_counts)
        self.register_buffer("counts", torch.full((classes,), first_cycle, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("class_weights", inverse_weights(effective_counts, normalization))
        self.register_buffer("class_index", torch.arange(classes), persistent=False)

    def generator(self, *, fake_classifier: Tensor) -> Tensor:
        """Return the scalar sum_k w_k p_k log p_k of logits (N, K).

        Raises:
            GancoreError: When the logits are not (N, `classes`).
        """
        self._check(fake_classifier)
        # Low-precision logits are averaged in float32, others in their own precision.
        logits = fake_classifier.to(torch.promote_types(fake_classifier.dtype, torch.float32))
        p = global_mean(logits.softmax(dim=1).mean(dim=0))
        # A probability that underflows to 0 contributes 0, and its slope stays finite.
        log_p = p.clamp_min(torch.finfo(p.dtype).tiny).log()
        return (self.class_weights.to(p.dtype) * p * log_p).sum()

    def observe(self, *, fake_classifier: Tensor) -> None:
        """Count the classes of logits (N, K), and renew N and w at the end of a cycle."""
        self._check(fake_classifier)
        decided = fake_classifier.argmax(dim=1, keepdim=True) == self.class_index
        self.counts.add_(global_sum(decided.sum(dim=0).to(self.counts.dtype)))
        self.steps.add_(1)
        ended = self.steps >= self.cycle
        renewed = ((1 - self.momentum) * self.effective_counts + self.momentum * self.counts).clamp_min(1)
        self.effective_counts.copy_(torch.where(ended, renewed, self.effective_counts))
        self.class_weights.copy_(inverse_weights(self.effective_counts, self.normalization))
        self.counts.masked_fill_(ended, 0)
        self.steps.masked_fill_(ended, 0)

    def monitor(self) -> dict[str, Tensor]:
        """Return the effective class frequency Nhat (K,), and its divergence from uniform, for the log."""
        frequency = self.effective_counts / self.effective_counts.sum()
        return {"frequency": frequency, "kl_to_uniform": kl_to_uniform(frequency)}

    def _check(self, logits: Tensor) -> None:
        if logits.ndim != 2 or logits.shape[1] != self.classes:
            raise gancore.GancoreError(
                f"cbgan/class-balance balances {self.classes} classes, but the classifier's logits have the shape "
                f"{tuple(logits.shape)}; set its 'classes' to the number of classes of networks.classifier."
            )


def inverse_weights(counts: Tensor, normalization: Normalization) -> Tensor:
    """Return class weights (K,) inverse to the counts (K,), which are above 0 (CBGAN Eq. 6, 7); see `ClassBalance`."""
    if normalization == "paper":
        return counts.mean() / counts
    return len(counts) / counts / (1 / counts).sum()


def kl_to_uniform(frequency: Tensor) -> Tensor:
    """Return KL(P || U) of class frequencies (K,) that sum to 1, in nats, as CBGAN reports it: with 1e-5 added to P and U."""
    p = frequency + 1e-5
    return (p * (p / (1 / len(frequency) + 1e-5)).log()).sum()
