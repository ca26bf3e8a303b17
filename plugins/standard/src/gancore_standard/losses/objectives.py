"""Adversarial objectives, one class each. Every logit is raw: the discriminator ends without a sigmoid.

All take ``real_adversarial`` and ``fake_adversarial``, logits (N,) float32, high for real. With s the logistic function,
-log s(x) = softplus(-x) and -log(1 - s(x)) = softplus(x); these forms stay finite for any logit.
"""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError, LossTerm, Range, global_mean

Target = Annotated[float, Range(0, 1, open_low=True)]


class Minimax(LossTerm):
    """The original game, whose generator loss saturates (Goodfellow et al. 2014, arXiv:1406.2661, Eq. 1).

    L_D = -E log s(D(x)) - E log(1 - s(D(G(z)))); L_G = E log(1 - s(D(G(z)))), which is at most 0. With a target t below 1 the
    first expectation is that of the cross entropy to it, -t log s(D(x)) - (1 - t) log(1 - s(D(x))): one-sided label smoothing
    (Salimans et al. 2016, arXiv:1606.03498, section 3.4).

    Args:
        real_target: What the discriminator's probability of a real image being real is drawn to.
    """

    def __init__(self, *, real_target: Target = 1.0) -> None:
        super().__init__()
        self.real_target = real_target

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_D."""
        return self.attacked(real_adversarial=real_adversarial).mean() + F.softplus(fake_adversarial).mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G."""
        return -F.softplus(fake_adversarial).mean()

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        """Return the cross entropy of each real image (N,) to the target, -log s(D(x)) where that is 1."""
        loss = F.softplus(-real_adversarial)
        return loss if self.real_target == 1 else loss + (1 - self.real_target) * real_adversarial


class NonSaturating(Minimax):
    """The game as it is usually trained: G raises log s(D(G(z))) (Goodfellow et al. 2014, arXiv:1406.2661, section 3).

    L_D as in `Minimax`; L_G = -E log s(D(G(z))).

    Args:
        real_target: As for `Minimax`.
    """

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G."""
        return F.softplus(-fake_adversarial).mean()


class Hinge(LossTerm):
    """Hinge loss (Lim & Ye 2017, arXiv:1705.02894; in this form Miyato et al. 2018, arXiv:1802.05957, Eq. 16, 17).

    L_D = E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))); L_G = -E D(G(z)).
    """

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_D."""
        return F.relu(1 - real_adversarial).mean() + F.relu(1 + fake_adversarial).mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G."""
        return -fake_adversarial.mean()

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        """Return max(0, 1 - D(x)) of each real image (N,)."""
        return F.relu(1 - real_adversarial)


class LeastSquares(LossTerm):
    """Least squares (Mao et al. 2017, arXiv:1611.04076, Eq. 2 with a = 0, c = 1 and, unless set, b = 1).

    L_D = E (D(x) - b)^2 / 2 + E D(G(z))^2 / 2 with the target b; L_G = E (D(G(z)) - 1)^2 / 2.

    Args:
        real_target: b, what the discriminator's value for real images is drawn to; below 1, as for `Minimax`.
    """

    def __init__(self, *, real_target: Target = 1.0) -> None:
        super().__init__()
        self.real_target = real_target

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_D."""
        return ((real_adversarial - self.real_target).square().mean() + fake_adversarial.square().mean()) / 2

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G."""
        return (fake_adversarial - 1).square().mean() / 2

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        """Return (D(x) - b)^2 / 2 of each real image (N,)."""
        return (real_adversarial - self.real_target).square() / 2


class Wasserstein(LossTerm):
    """Wasserstein distance, with an optional clip of the critic's weights (Arjovsky et al. 2017, arXiv:1701.07875, Alg. 1).

    L_D = E D(G(z)) - E D(x); L_G = -E D(G(z)). The critic must be kept Lipschitz: by `clip` (0.01 in the paper), by a
    gradient penalty, or by spectral norm.

    Args:
        clip: After each step of the discriminator its parameters are clamped to [-clip, clip]; None leaves them alone.
    """

    def __init__(self, *, clip: Annotated[float, Range(0, open_low=True)] | None = None) -> None:
        super().__init__()
        self.clip = clip

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_D."""
        return fake_adversarial.mean() - real_adversarial.mean()

    def generator(self, *, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G."""
        return -fake_adversarial.mean()

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        """Return -D(x) of each real image (N,)."""
        return -real_adversarial

    @torch.no_grad()
    def project(self, player: str, parameters: list[Tensor]) -> None:
        """Clamp the discriminator's parameters in place; the generator's are left alone."""
        if self.clip is None or player != "discriminator":
            return
        for parameter in parameters:
            parameter.clamp_(-self.clip, self.clip)


class Relativistic(LossTerm):
    """Relativistic logistic loss of pairs (Jolicoeur-Martineau 2018, arXiv:1807.00734).

    L_D = -E log s(D(x_i) - D(G(z_i))); L_G = -E log s(D(G(z_i)) - D(x_i)). Real and generated images are paired by their
    place in the batch, which is random.

    Raises:
        GancoreError: From every method, when there are not as many real as generated logits.
    """

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_D."""
        return self.attacked(real_adversarial=real_adversarial, fake_adversarial=fake_adversarial).mean()

    def generator(self, *, fake_adversarial: Tensor, real_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G."""
        _require_pairs(real_adversarial, fake_adversarial)
        return F.softplus(real_adversarial - fake_adversarial).mean()

    def attacked(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return -log s(D(x_i) - D(G(z_i))) of each real image (N,)."""
        _require_pairs(real_adversarial, fake_adversarial)
        return F.softplus(fake_adversarial - real_adversarial)


class RelativisticAverage(LossTerm):
    """Relativistic average logistic loss, RaSGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734).

    With m_r = E D(x) and m_f = E D(G(z)) over the batches of all processes:
    L_D = -E log s(D(x) - m_f) - E log(1 - s(D(G(z)) - m_r)); L_G = -E log s(D(G(z)) - m_r) - E log(1 - s(D(x) - m_f)).
    """

    mean_over_images = False

    def discriminator(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_D."""
        return _above_mean(real_adversarial, fake_adversarial) + _below_mean(fake_adversarial, real_adversarial)

    def generator(self, *, fake_adversarial: Tensor, real_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G."""
        return _above_mean(fake_adversarial, real_adversarial) + _below_mean(real_adversarial, fake_adversarial)

    def attacked(self, *, real_adversarial: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return -log s(D(x) - m_f) of each real image (N,)."""
        return F.softplus(global_mean(fake_adversarial.mean()) - real_adversarial)


def _require_pairs(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise GancoreError(
            f"the relativistic loss pairs real and generated images one to one, but got logits of shape {tuple(real.shape)} "
            f"and {tuple(fake.shape)}; give it batches of one size, or use 'relativistic-average'."
        )


def _above_mean(logits: Tensor, others: Tensor) -> Tensor:
    """Mean of -log s(logit - mean of the others)."""
    local = others.mean()
    mean = global_mean(local).detach()
    # `global_mean` alone has the exact gradient only where the loss depends on the mean alike in every process. Here the slope
    # with respect to the mean differs between processes, so it is averaged over them and put in by hand; the added term is 0.
    slope = global_mean(torch.sigmoid(mean - logits).mean().detach())
    return F.softplus(mean - logits).mean() + slope * (local - local.detach())


def _below_mean(logits: Tensor, others: Tensor) -> Tensor:
    """Mean of -log(1 - s(logit - mean of the others)), which is `_above_mean` with every sign turned."""
    return _above_mean(-logits, -others)
