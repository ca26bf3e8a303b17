"""Classification losses: the auxiliary classifier of a discriminator, and the training of a classifier on long-tailed data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError, LossTerm, Range, global_mean


class AuxiliaryClassifier(LossTerm):
    """Cross entropy of the discriminator's class head (AC-GAN, Odena et al. 2017, arXiv:1610.09585, Eq. 3).

    L_D gets ``real`` * CE(D^c(x), y) + ``fake`` * CE(D^c(G(z, y_f)), y_f), L_G gets ``generator`` * CE(D^c(G(z, y_f)), y_f).
    With ``fake = 0`` the discriminator learns classes from real images alone (RobGAN's split loss; WGAN-GP's conditional
    variant, there with ``generator = 0.1``).

    Args:
        real: Weight of real images in the discriminator's loss.
        fake: Weight of generated images in the discriminator's loss.
        generator: Weight in the generator's loss.
    """

    def __init__(
        self,
        *,
        real: Annotated[float, Range(0)] = 1.0,
        fake: Annotated[float, Range(0)] = 1.0,
        generator: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        super().__init__()
        # Not `self.generator`: that is the method below.
        self.real_weight = real
        self.fake_weight = fake
        self.generator_weight = generator

    def discriminator(self, *, real_classes: Tensor, real_label: Tensor, fake_classes: Tensor, fake_label: Tensor) -> Tensor:
        """Return the discriminator's scalar; logits are (N, K), labels (N,) int64."""
        loss = self.real_weight * F.cross_entropy(real_classes, real_label)
        if self.fake_weight == 0:
            return loss
        return loss + self.fake_weight * F.cross_entropy(fake_classes, fake_label)

    def generator(self, *, fake_classes: Tensor, fake_label: Tensor) -> Tensor:
        """Return the generator's scalar; logits are (N, K), labels (N,) int64."""
        return self.generator_weight * F.cross_entropy(fake_classes, fake_label)

    def attacked(self, *, real_classes: Tensor, real_label: Tensor) -> Tensor:
        """Return ``real`` times the cross entropy of each real image (N,)."""
        return self.real_weight * F.cross_entropy(real_classes, real_label, reduction="none")


class CrossEntropy(LossTerm):
    """Loss of a classifier, plain or for long-tailed data, with deferred re-weighting (Cao et al. 2019, arXiv:1906.07413).

    With l_i = w_y CE(logits_i, y_i) and w the class weights:

    - ``cross_entropy``: sum l_i / sum w_y.
    - ``focal`` (Lin et al. 2017, arXiv:1708.02002, Eq. 4): mean (1 - p_i)^gamma l_i. As in the LDAM authors' code, which
      trained CBGAN's classifiers, the class weight also enters p_i = exp(-l_i).
    - ``ldam`` (Cao et al. 2019, section 3.2): the true class's logit is lowered by its margin m_k = max_margin *
      (n_min / n_k)^(1/4), logits are multiplied by `scale`, then ``cross_entropy``.

    Deferred re-weighting: w is 1 until iteration `drw_start`, and `effective_number_weights` from then on.

    Args:
        class_counts: Training images per class (K values); core supplies it.
        loss: Which of the three.
        gamma: Exponent of the focal loss.
        max_margin: Margin of the rarest class (``ldam``), in units of the logits before scaling.
        scale: Factor on the logits (``ldam``).
        drw_start: First iteration (from 0) that uses class weights; None never does.
        beta: Of the effective number, in [0, 1); 0 gives equal weights.

    Raises:
        GancoreError: When class weights or margins are asked for and a class has no training images.
    """

    mean_over_images = False

    class_weights: Tensor
    margins: Tensor

    def __init__(
        self,
        *,
        class_counts: list[int],
        loss: Literal["cross_entropy", "focal", "ldam"] = "cross_entropy",
        gamma: Annotated[float, Range(0)] = 1.0,
        max_margin: Annotated[float, Range(0)] = 0.5,
        scale: Annotated[float, Range(0, open_low=True)] = 30.0,
        drw_start: Annotated[int, Range(0)] | None = None,
        beta: Annotated[float, Range(0, 1, open_high=True)] = 0.9999,
    ) -> None:
        super().__init__()
        self.classes = len(class_counts)
        self.loss = loss
        self.gamma = gamma
        self.scale = scale
        self.drw_start = drw_start
        # Constants that follow from the settings: they move with the device, but a checkpoint need not hold them.
        if drw_start is not None:
            self.register_buffer("class_weights", effective_number_weights(class_counts, beta).float(), persistent=False)
        if loss == "ldam":
            margins = _positive(class_counts).pow(-0.25)
            self.register_buffer("margins", (max_margin * margins / margins.max()).float(), persistent=False)

    def classifier(self, *, real_classifier: Tensor, real_label: Tensor, iteration: Tensor) -> Tensor:
        """Return the scalar loss of logits (N, K) and labels (N,) int64 at `iteration`, a 0-d int64 tensor.

        Raises:
            GancoreError: When the logits have another number of classes than the data.
        """
        if real_classifier.shape[1] != self.classes:
            raise GancoreError(
                f"the classifier has {real_classifier.shape[1]} classes, but the training images have {self.classes}; "
                "set the network's 'classes' to the data set's."
            )
        logits, weights = real_classifier, self._weights(iteration, real_classifier.dtype)
        if self.loss == "focal":
            losses = F.cross_entropy(logits, real_label, weight=weights, reduction="none")
            # 1 - p = 1 - exp(-l). An exact 0 has no finite derivative when gamma < 1.
            miss = (-torch.expm1(-losses)).clamp_min(torch.finfo(losses.dtype).tiny)
            return (miss.pow(self.gamma) * losses).mean()
        if self.loss == "ldam":
            true_class = real_label[:, None] == torch.arange(logits.shape[1], device=logits.device)
            logits = self.scale * torch.where(true_class, logits - self.margins.to(logits.dtype), logits)
        loss = F.cross_entropy(logits, real_label, weight=weights)
        if weights is None:
            return loss
        # The weights of all images add up to the divisor, not those of this process alone; in one process the factor is 1.
        own = weights[real_label].sum()
        return loss * (own / global_mean(own))

    def attacked(self, *, real_classifier: Tensor, real_label: Tensor) -> Tensor:
        """Return the plain cross entropy of each image (N,)."""
        return F.cross_entropy(real_classifier, real_label, reduction="none")

    def _weights(self, iteration: Tensor, dtype: torch.dtype) -> Tensor | None:
        if self.drw_start is None:
            return None
        weights = torch.where(iteration >= self.drw_start, self.class_weights, torch.ones_like(self.class_weights))
        return weights.to(dtype)


def effective_number_weights(counts: Sequence[int], beta: float) -> Tensor:
    """Return class weights (K,) float64 by effective number of samples, with sum K.

    w_k is proportional to (1 - beta) / (1 - beta^n_k) (Cui et al. 2019, arXiv:1901.05555: the class-balanced loss).

    Args:
        counts: Training images per class, n_k >= 1.
        beta: In [0, 1).

    Raises:
        GancoreError: When a class has no training images.
    """
    numbers = _positive(counts)
    # 1 - beta^n, without the cancellation of beta near 1; beta = 0 gives log 0 = -inf, and so 1.
    covered = -torch.expm1(numbers * torch.tensor(beta, dtype=torch.float64).log())
    weights = 1 / covered
    return weights * len(numbers) / weights.sum()


def _positive(counts: Sequence[int]) -> Tensor:
    empty = [str(label) for label, count in enumerate(counts) if count < 1]
    if empty:
        raise GancoreError(
            f"class {', '.join(empty)} has no training images, so it has no class weight or margin; keep at least one image "
            "of each class, or use plain 'cross_entropy' without 'drw_start'."
        )
    return torch.tensor(list(counts), dtype=torch.float64)
