"""The losses of RobGAN and Fast-RobGAN. All ask for the heads ``adversarial`` (logits (N,)) and ``classes`` (logits (N, K))."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor
from torch.nn import functional as F

import gancore

Weight = Annotated[float, gancore.Range(0)]


class SplitLoss(gancore.LossTerm):
    """RobGAN's loss: the discriminator does not classify generated images (arXiv:1807.10454, Eq. 9; Fast-RobGAN, Eq. 2.2, 2.3).

    With l the logistic loss of D^b and CE the cross entropy of D^c:
    L_D = real * l(x, 1) + label * CE(x, y) + fake * l(G(z), 0) + fake_label * CE(G(z), y_f);
    L_G = real * l(G(z), 1) + label * CE(G(z), y_f).
    The defaults are the authors' code; the papers print 1 / 1 / 1. With ``fake = 0.5`` and ``fake_label = 0.5`` it is the
    loss of AC-GAN (Eq. 8) that they compare with. An attack raises the terms of the real images.

    Args:
        real: Weight of the real/fake decision on real images, and of the generator's.
        label: Weight of the classes of real images, and of the generator's.
        fake: Weight of the real/fake decision on generated images.
        fake_label: Weight of the classes of generated images in L_D.
    """

    def __init__(self, *, real: Weight = 0.5, label: Weight = 0.5, fake: Weight = 1.0, fake_label: Weight = 0.0) -> None:
        super().__init__()
        self.real_weight = real
        self.label_weight = label
        self.fake_weight = fake
        self.fake_label_weight = fake_label

    def discriminator(
        self,
        *,
        real_adversarial: Tensor,
        real_classes: Tensor,
        real_label: Tensor,
        fake_adversarial: Tensor,
        fake_classes: Tensor,
        fake_label: Tensor,
    ) -> Tensor:
        """Return the scalar L_D."""
        real = self.attacked(real_adversarial=real_adversarial, real_classes=real_classes, real_label=real_label).mean()
        loss = real + self.fake_weight * F.softplus(fake_adversarial).mean()
        if self.fake_label_weight:
            loss = loss + self.fake_label_weight * F.cross_entropy(fake_classes, fake_label)
        return loss

    def generator(self, *, fake_adversarial: Tensor, fake_classes: Tensor, fake_label: Tensor) -> Tensor:
        """Return the scalar L_G."""
        fooled = F.softplus(-fake_adversarial).mean()
        return self.real_weight * fooled + self.label_weight * F.cross_entropy(fake_classes, fake_label)

    def attacked(self, *, real_adversarial: Tensor, real_classes: Tensor, real_label: Tensor) -> Tensor:
        """Return the terms of L_D that each real image enters (N,)."""
        classes = F.cross_entropy(real_classes, real_label, reduction="none")
        return self.real_weight * F.softplus(-real_adversarial) + self.label_weight * classes


class FastLoss(gancore.LossTerm):
    """Fast-RobGAN's loss: hinge, classes of real images, and no classes in generated ones (Zhong 2020, Eq. 3.1, 3.2).

    L_D = E max(0, 1 - D^b(x)) + E CE(D^c(x), y) + E max(0, 1 + D^b(G(z))) + uniform * E KL(softmax D^c(G(z)) || U);
    L_G = -E D^b(G(z)) + alpha * E CE(D^c(G(z)), y_f).
    KL(p || U) = log K + sum_k p_k log p_k is in [0, log K], per image. An attack raises the terms of the real images.

    Args:
        alpha: Weight of the generator's classes (alpha_c^g): 1 on CIFAR-10 and ImageNet-143, 0.2 on CIFAR-100.
        uniform: Weight of the divergence from uniform; the paper's is 1, and 0 its ablation.
    """

    def __init__(self, *, alpha: Weight = 1.0, uniform: Weight = 1.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.uniform = uniform

    def discriminator(
        self,
        *,
        real_adversarial: Tensor,
        real_classes: Tensor,
        real_label: Tensor,
        fake_adversarial: Tensor,
        fake_classes: Tensor,
    ) -> Tensor:
        """Return the scalar L_D."""
        real = self.attacked(real_adversarial=real_adversarial, real_classes=real_classes, real_label=real_label).mean()
        loss = real + F.relu(1 + fake_adversarial).mean()
        if self.uniform:
            loss = loss + self.uniform * divergence_from_uniform(fake_classes).mean()
        return loss

    def generator(self, *, fake_adversarial: Tensor, fake_classes: Tensor, fake_label: Tensor) -> Tensor:
        """Return the scalar L_G."""
        return self.alpha * F.cross_entropy(fake_classes, fake_label) - fake_adversarial.mean()

    def attacked(self, *, real_adversarial: Tensor, real_classes: Tensor, real_label: Tensor) -> Tensor:
        """Return the terms of L_D that each real image enters (N,)."""
        return F.relu(1 - real_adversarial) + F.cross_entropy(real_classes, real_label, reduction="none")


class FineTune(gancore.LossTerm):
    """A discriminator's class head as a classifier, on real and generated images (RobGAN, arXiv:1807.10454, Eq. 10).

    L = E CE(D^c(x), y) + fake * E CE(D^c(G(z)), y_f), both on adversarial images where the recipe has an attack with
    ``sides = ["real", "fake"]``. Without a generator it is the classifier's own (adversarial) training.

    Args:
        fake: Weight lambda of generated images; 0.3 to 0.8 in the authors' code.
    """

    def __init__(self, *, fake: Weight = 0.5) -> None:
        super().__init__()
        self.fake_weight = fake

    def discriminator(
        self,
        *,
        real_classes: Tensor,
        real_label: Tensor,
        fake_classes: Tensor | None = None,
        fake_label: Tensor | None = None,
    ) -> Tensor:
        """Return the scalar L."""
        loss = F.cross_entropy(real_classes, real_label)
        if fake_classes is None or fake_label is None:
            return loss
        return loss + self.fake_weight * F.cross_entropy(fake_classes, fake_label)

    def attacked(self, *, real_classes: Tensor, real_label: Tensor) -> Tensor:
        """Return the cross entropy of each real image (N,)."""
        return F.cross_entropy(real_classes, real_label, reduction="none")

    def attacked_fake(self, *, fake_classes: Tensor | None = None, fake_label: Tensor | None = None) -> Tensor:
        """Return the cross entropy of each generated image (N,)."""
        assert fake_classes is not None
        assert fake_label is not None
        return F.cross_entropy(fake_classes, fake_label, reduction="none")


def divergence_from_uniform(logits: Tensor) -> Tensor:
    """Return KL(softmax(logits) || U) of each row (N,) of logits (N, K), in nats."""
    log_p = logits.log_softmax(dim=1)
    return (log_p.exp() * log_p).sum(dim=1) + math.log(logits.shape[1])
