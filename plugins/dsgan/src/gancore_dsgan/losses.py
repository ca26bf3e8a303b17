"""Losses of the two applications: semi-supervised learning, and robustness by generated data of low density."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore

_TINY = 1e-8
"""Keeps the logarithm of a probability finite, as in the authors' code."""


def entropy(logits: Tensor) -> Tensor:
    """Return the mean entropy of the softmax of logits (N, K), in nats, a scalar."""
    p = logits.softmax(1)
    return -(p * (p + _TINY).log()).sum(1).mean()


class SemiSupervised(gancore.LossTerm):
    """Cross entropy of labeled images, with generated images as a further class K + 1 (Dai et al. 2017; DSGAN, Eq. 4).

    The further class's logit is 0, so that with l the log-sum-exp of the K logits, log P(y <= K | x) = l - softplus(l) and
    log P(K + 1 | x) = -softplus(l). As in the authors' code::

        CE(labeled) + adversarial [-1/2 E l(x_u) + 1/2 E softplus(l(x_u)) + 1/2 E softplus(l(x_g))] + entropy E H(x_u)

    Eq. 4 has weight 1 in place of 1/2.

    Args:
        adversarial: Weight of telling unlabeled from generated images; the authors' default is not known, Eq. 4 has 1.
        entropy: Weight of the entropy of unlabeled images' classes.
    """

    def __init__(
        self, *, adversarial: Annotated[float, gancore.Range(0)] = 1.0, entropy: Annotated[float, gancore.Range(0)] = 0.0
    ) -> None:
        super().__init__()
        self.adversarial = adversarial
        self.entropy = entropy

    def classifier(
        self, *, labelled_classifier: Tensor, labelled_label: Tensor, real_classifier: Tensor, fake_classifier: Tensor
    ) -> Tensor:
        """Return the scalar loss.

        Args:
            labelled_classifier: Logits (N, K) of labeled images.
            labelled_label: Their classes (N,) int64.
            real_classifier: Logits (N, K) of unlabeled images.
            fake_classifier: Logits (N, K) of generated images.
        """
        real, fake = torch.logsumexp(real_classifier, 1), torch.logsumexp(fake_classifier, 1)
        unsupervised = (F.softplus(real) - real).mean() / 2 + F.softplus(fake).mean() / 2
        loss = F.cross_entropy(labelled_classifier, labelled_label) + self.adversarial * unsupervised
        return loss + self.entropy * entropy(real_classifier) if self.entropy else loss


class PullAway(gancore.LossTerm):
    """Keeps the features of generated images unlike each other (Zhao et al. 2017, arXiv:1609.03126, Eq. 6).

    The mean squared cosine between the features of two different images.
    """

    mean_over_images = False

    def generator(self, *, fake_classifier_features: Tensor) -> Tensor:
        """Return the scalar loss for features (N, F), N at least 2; 0 for a single image."""
        features = gancore.gather(F.normalize(fake_classifier_features, dim=1))
        cosines = features @ features.T
        number = len(features)
        return (cosines.square().sum() - cosines.diagonal().square().sum()) / max(number * (number - 1), 1)


class FeatureMatching(gancore.LossTerm):
    """The mean features of generated images equal those of unlabeled ones (Salimans et al. 2016, arXiv:1606.03498).

    The generator's loss of badGAN (Dai et al. 2017), without a critic: the mean absolute difference over the features.

    Args:
        squared: Square the differences instead, as the public code of Salimans et al. does for MNIST.
    """

    mean_over_images = False

    def __init__(self, *, squared: bool = False) -> None:
        super().__init__()
        self.squared = squared

    def generator(self, *, real_classifier_features: Tensor, fake_classifier_features: Tensor) -> Tensor:
        """Return the scalar loss for features (N, F)."""
        gap = gancore.global_mean(real_classifier_features.mean(0) - fake_classifier_features.mean(0))
        return (gap.square() if self.squared else gap.abs()).mean()


class Confidence(gancore.LossTerm):
    """Entropy of the classes of generated images, to be lowered: classify them with confidence (DSGAN, Eq. 9).

    Its weight is the paper's w. The cross entropy of real images (`standard/cross-entropy`) stands beside it.
    """

    def classifier(self, *, fake_classifier: Tensor) -> Tensor:
        """Return the scalar mean entropy of logits (N, K), in nats."""
        return entropy(fake_classifier)
