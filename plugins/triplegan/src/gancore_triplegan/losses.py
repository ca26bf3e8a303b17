"""The game of three players, and the regularizers of the classifier."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

import gancore

Share = Annotated[float, gancore.Range(0, 1)]
Weight = Annotated[float, gancore.Range(0)]


class Pairs(gancore.LossTerm):
    """The discriminator tells the data's pairs of image and label from the classifier's and the generator's (Alg. 1).

    With D(x, y) the sigmoid of the logit under `adversarial`, labeled pairs (x_l, y_l), pairs (x_c, y_c) of images with labels
    by the classifier, and generated pairs (x_g, y_g)::

        L_D = -E log D(x_l, y_l) - alpha E log(1 - D(x_c, y_c)) - (1 - alpha) E log(1 - D(x_g, y_g))
        L_G = -(1 - alpha) E log D(x_g, y_g)
        L_C = -alpha E p_c(y_c | x_c) log D(x_c, y_c), times `classifier`

    Algorithm 1 lowers log(1 - D) in the last two (`saturating`); the public code, as here, raises log D. The discriminator's
    answers have no gradient to the classifier, whose labels are discrete: it raises the probabilities of labels that pass.
    Where few images are labeled the discriminator would know them by heart, so in the public code most of the pairs that it
    takes for the data's are the classifier's: of `labeled` = s, the first term is s of labeled pairs, 1 - s of those.

    Args:
        alpha: The classifier's share among the pairs that are not the data's.
        labeled: Share of labeled pairs among those that the discriminator takes for the data's.
        classifier: What the classifier's loss is multiplied by.
        saturating: Lower log(1 - D), as Algorithm 1.
    """

    def __init__(self, *, alpha: Share = 0.5, labeled: Share = 1.0, classifier: Weight = 1.0, saturating: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.labeled = labeled
        # Not `self.classifier`: that is the method below.
        self.classifier_weight = classifier
        self.saturating = saturating

    def discriminator(self, *, labelled_adversarial: Tensor, guessed_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the discriminator's scalar for logits (N,) of labeled, of the classifier's, and of generated pairs."""
        true = self.labeled * F.softplus(-labelled_adversarial).mean()
        if self.labeled < 1:
            true = true + (1 - self.labeled) * F.softplus(-guessed_adversarial).mean()
        guessed, fake = F.softplus(guessed_adversarial).mean(), F.softplus(fake_adversarial).mean()
        return true + self.alpha * guessed + (1 - self.alpha) * fake

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        """Return the generator's scalar for logits (N,) of generated pairs."""
        return (1 - self.alpha) * self._fooled(fake_adversarial).mean()

    def classifier(self, *, guessed_adversarial: Tensor, guessed_classifier: Tensor, guessed_label: Tensor) -> Tensor:
        """Return the classifier's scalar.

        Args:
            guessed_adversarial: Logits (N,) of the classifier's pairs, a constant here.
            guessed_classifier: The classifier's logits (N, K) on their images.
            guessed_label: Their labels (N,) int64.
        """
        probability = guessed_classifier.softmax(1).gather(1, guessed_label[:, None]).squeeze(1)
        return self.classifier_weight * self.alpha * (probability * self._fooled(guessed_adversarial)).mean()

    def _fooled(self, logits: Tensor) -> Tensor:
        return -F.softplus(logits) if self.saturating else F.softplus(-logits)


class Confidence(gancore.LossTerm):
    """The classifier is sure of each unlabeled image, and of each class as often, as in the public code for MNIST and SVHN.

    The loss is::

        entropy E H(p_c(. | x_u)) - balance 1/K sum_k log E p_c(k | x_u)

    Args:
        entropy: Weight of the entropy of single images.
        balance: Weight of the cross entropy from the uniform distribution to the mean prediction.
    """

    mean_over_images = False

    def __init__(self, *, entropy: Weight = 0.3, balance: Weight = 1e-3) -> None:
        super().__init__()
        self.entropy = entropy
        self.balance = balance

    def classifier(self, *, real_classifier: Tensor) -> Tensor:
        """Return the scalar loss of logits (N, K) of unlabeled images."""
        logs = real_classifier.log_softmax(1)
        single = -(logs.exp() * logs).sum(1).mean()
        mean = gancore.global_mean(logs.exp().mean(0))
        return self.entropy * single - self.balance * mean.clamp_min(1e-6).log().mean()


class Consistency(gancore.LossTerm):
    """Two passes of the classifier over the same images agree (Laine and Aila 2017, arXiv:1610.02242, the Pi model).

    Dropout and noise make the passes differ. The term's `weight` is the paper's w(t), in which `triplegan/rise` is the rise.
    """

    def classifier(self, *, real_classifier: Tensor, guessed_classifier: Tensor) -> Tensor:
        """Return the mean squared difference of probabilities, a scalar, of logits (N, K) of the two passes.

        ``guessed`` has the images of ``real`` (`gancore_triplegan.loops.ThreePlayers`).
        """
        return (real_classifier.softmax(1) - guessed_classifier.softmax(1)).square().mean()
