"""Games whose discriminator knows the classes of real images (AM-GAN, arXiv:1703.02000).

Those of K + 1 classes ask for the head ``extended``, whose last logit stands for generated images; those of K classes for the
head ``classes``. H is the cross entropy; v(y) and u(y) put all probability on class y, of K + 1 and of K; D(x) and C(x) are the
softmax of the two heads.
"""

from __future__ import annotations

from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

import gancore


def dynamic_labels(logits: Tensor) -> Tensor:
    """Return the likeliest class (N,) int64 of logits (N, K): dynamic labeling (section 5.1). It carries no gradient."""
    return logits.detach().argmax(1)


class AMGAN(gancore.LossTerm):
    """Every generated image shall be one class, the likeliest of the K (AM-GAN, Eq. 14, 15, section 5.1).

    L_D = E H(v(y), D(x)) + E H(v(K + 1), D(G(z))); L_G = E H(v(t), D(G(z))) with t = argmax over the first K of D(G(z)).
    """

    def discriminator(self, *, real_extended: Tensor, real_label: Tensor, fake_extended: Tensor) -> Tensor:
        """Return the scalar L_D for logits (N, K + 1) and labels (N,) int64 below K."""
        return F.cross_entropy(real_extended, real_label) - F.log_softmax(fake_extended, 1)[:, -1].mean()

    def generator(self, *, fake_extended: Tensor) -> Tensor:
        """Return the scalar L_G for logits (N, K + 1)."""
        return F.cross_entropy(fake_extended, dynamic_labels(fake_extended[:, :-1]))

    def attacked(self, *, real_extended: Tensor, real_label: Tensor) -> Tensor:
        """Return H(v(y), D(x)) of each real image (N,)."""
        return F.cross_entropy(real_extended, real_label, reduction="none")


class Predefined(AMGAN):
    """AM-GAN whose generated images shall be of the class that the generator was given (Eq. 14).

    L_D as in `AMGAN`; L_G = E H(v(y), D(G(z, y))). The generator must obey its labels.
    """

    def generator(self, *, fake_extended: Tensor, fake_label: Tensor) -> Tensor:  # type: ignore[override]
        """Return the scalar L_G for logits (N, K + 1) and labels (N,) int64."""
        return F.cross_entropy(fake_extended, fake_label)


class LabelGAN(AMGAN):
    """A generated image shall be of any class (Salimans et al. 2016, arXiv:1606.03498; AM-GAN's Eq. 2, 3).

    L_D as in `AMGAN`; L_G = -E log sum_{k <= K} D_k(G(z)): all classes at once, each as strongly as it is likely.
    """

    def generator(self, *, fake_extended: Tensor) -> Tensor:
        """Return the scalar L_G for logits (N, K + 1)."""
        return F.softplus(fake_extended[:, -1] - fake_extended[:, :-1].logsumexp(1)).mean()


class CatGAN(gancore.LossTerm):
    """D is sure of the classes of real images and unsure of generated ones' (Springenberg 2016, arXiv:1511.06390, Eq. 7, 9).

    L_D = E h(C(x)) - h(E C(x)) - E h(C(G(z))) + supervised E H(u(y), C(x)); L_G = E h(C(G(z))) - h(E C(G(z))).
    Here h is the entropy in nats, and the mean within it is over the batches of all processes.

    Args:
        supervised: Weight of the labels' cross entropy; 0 learns classes of its own from unlabeled images.
    """

    mean_over_images = False

    def __init__(self, *, supervised: Annotated[float, gancore.Range(0)] = 1.0) -> None:
        super().__init__()
        self.supervised = supervised

    def discriminator(self, *, real_classes: Tensor, real_label: Tensor, fake_classes: Tensor) -> Tensor:
        """Return the scalar L_D for logits (N, K) and labels (N,) int64."""
        loss = certainty(real_classes) - _entropy(fake_classes.softmax(1)).mean()
        return loss + self.supervised * F.cross_entropy(real_classes, real_label)

    def generator(self, *, fake_classes: Tensor) -> Tensor:
        """Return the scalar L_G for logits (N, K)."""
        return certainty(fake_classes)

    def attacked(self, *, real_classes: Tensor, real_label: Tensor) -> Tensor:
        """Return what L_D has of each real image (N,) by itself: h(C(x)) + supervised H(u(y), C(x))."""
        supervised = self.supervised * F.cross_entropy(real_classes, real_label, reduction="none")
        return _entropy(real_classes.softmax(1)) + supervised


class Auxiliary(gancore.LossTerm):
    """The classes of AC-GAN*, with dynamic labels (AM-GAN, Eq. 7, 9, section 5.1), beside a game of two classes.

    L_D gets E H(u(y), C(x)), L_G gets ``generator`` * E H(u(t), C(G(z))) with t = argmax C(G(z)). With predefined labels it is
    ``standard/auxiliary-classifier`` with ``fake = 0``.

    Args:
        generator: Weight in the generator's loss. The paper tries 0.1 against the collapse that 1 leads to.
    """

    def __init__(self, *, generator: Annotated[float, gancore.Range(0)] = 1.0) -> None:
        super().__init__()
        # Not `self.generator`: that is the method below.
        self.generator_weight = generator

    def discriminator(self, *, real_classes: Tensor, real_label: Tensor) -> Tensor:
        """Return the discriminator's scalar for logits (N, K) and labels (N,) int64."""
        return F.cross_entropy(real_classes, real_label)

    def generator(self, *, fake_classes: Tensor) -> Tensor:
        """Return the generator's scalar for logits (N, K)."""
        return self.generator_weight * F.cross_entropy(fake_classes, dynamic_labels(fake_classes))

    def attacked(self, *, real_classes: Tensor, real_label: Tensor) -> Tensor:
        """Return H(u(y), C(x)) of each real image (N,)."""
        return F.cross_entropy(real_classes, real_label, reduction="none")


class Uniform(gancore.LossTerm):
    """What AC-GAN*+ adds to AC-GAN*: D finds no class in generated images (AM-GAN, Eq. 20).

    L_D gets E H(u, C(G(z))), u being uniform over the K classes.
    """

    def discriminator(self, *, fake_classes: Tensor) -> Tensor:
        """Return the scalar for logits (N, K)."""
        return -F.log_softmax(fake_classes, 1).mean()


def certainty(logits: Tensor) -> Tensor:
    """Return E h(p) - h(E p) for p = softmax(logits), logits (N, K): at least -log K, for sure and evenly spread classes."""
    probabilities = logits.softmax(1)
    return _entropy(probabilities).mean() - _entropy(gancore.global_mean(probabilities.mean(0)))


def _entropy(probabilities: Tensor) -> Tensor:
    # The smallest number keeps the logarithm, and its gradient, finite where a class is ruled out.
    return -(probabilities * probabilities.clamp_min(1e-12).log()).sum(-1)
