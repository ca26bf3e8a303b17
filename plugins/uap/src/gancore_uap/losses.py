"""The losses of data-free universal perturbations: of the prior GAN, and of the perturbation (CBGAN section 4.3)."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore


class ActivationMaximization(gancore.LossTerm):
    """Mean entropy of a classifier's predictions on generated images (CBGAN Eq. 10, 11).

    The generator minimizes E H(softmax C(G(z))), so that each image is confidently of some class. Beside the class-balancing
    regularizer, which raises the entropy of the batch's *mean* prediction, the images are of all classes.
    """

    def generator(self, *, fake_classifier: Tensor) -> Tensor:
        """Return the mean entropy, in nats, of logits (N, K)."""
        log_p = fake_classifier.log_softmax(dim=1)
        return -(log_p.exp() * log_p).sum(dim=1).mean()


class Fooling(gancore.LossTerm):
    """What a perturbation lowers to fool a classifier (Poursaeed et al. 2018, section 3; CBGAN section 4.3).

    Without a target it is -log CE(C(x + v), y), where CE is the cross entropy's mean over the batch and y the classifier's own
    decision on the clean image: generated images have no other label. With a target class t it is log CE(C(x + v), t).

    Args:
        target: The class that the perturbation makes the classifier predict; none by default.
        least_likely: The target is each clean image's least likely class (the public code of Poursaeed et al.).
        log: Take the logarithm. Without it the loss is -CE, or CE towards a target; CBGAN does so for ImageNet's own images.
    """

    mean_over_images = False

    fooled: Tensor

    def __init__(
        self, *, target: Annotated[int, gancore.Range(0)] | None = None, least_likely: bool = False, log: bool = True
    ) -> None:
        super().__init__()
        if target is not None and least_likely:
            raise gancore.GancoreError("target and least_likely can't be both; a perturbation has one aim.")
        self.target = target
        self.least_likely = least_likely
        self.log = log
        self.register_buffer("fooled", torch.zeros(()))

    def generator(self, *, real_classifier: Tensor, fake_classifier: Tensor) -> Tensor:
        """Return the loss.

        Args:
            real_classifier: Logits (N, K) on the clean images.
            fake_classifier: Logits (N, K) on the perturbed ones.

        Raises:
            GancoreError: There is no class `target`.
        """
        sign, wanted = -1, real_classifier.argmax(dim=1)
        if self.least_likely:
            sign, wanted = 1, real_classifier.argmin(dim=1)
        if self.target is not None:
            if self.target >= fake_classifier.shape[1]:
                raise gancore.GancoreError(
                    f"uap/fooling has the target {self.target}, but the classifier has the classes 0 to "
                    f"{fake_classifier.shape[1] - 1}; choose one of these."
                )
            sign, wanted = 1, torch.full_like(wanted, self.target)
        entropy = gancore.global_mean(F.cross_entropy(fake_classifier, wanted))
        # A cross entropy that underflows to 0 has no gradient either way; its logarithm must stay finite.
        return sign * (entropy.clamp_min(torch.finfo(entropy.dtype).tiny).log() if self.log else entropy)

    def observe(self, *, real_classifier: Tensor, fake_classifier: Tensor) -> None:
        """Keep the batch's share of images whose predicted class the perturbation changes."""
        changed = (real_classifier.argmax(dim=1) != fake_classifier.argmax(dim=1)).float().mean()
        self.fooled.copy_(gancore.global_mean(changed))

    def monitor(self) -> dict[str, Tensor]:
        """Return the fooling rate on the last batch, for the log."""
        return {"fooling_rate": self.fooled}
