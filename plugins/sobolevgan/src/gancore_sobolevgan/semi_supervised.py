"""Semi-supervised learning by a critic that contains the classifier."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

import gancore
from gancore_sobolevgan.multipliers import Multiplier, Rho, both_halves, squared_gradient


class SemiSupervised(gancore.LossTerm):
    """Sobolev GAN's objective for few labels (Mroueh et al. 2018, arXiv:1711.04894; Fisher GAN, arXiv:1705.09675).

    The discriminator's features carry S, the logits of K classes, and v, a logit for generated images (the sign of the house's
    adversarial logit turned: high for real, so that it is -v). The critic is f = sum_y p(y) S_y - v with p = softmax(S), or
    with sum_y p(y) log p(y) in the first place. D raises E_real f - E_fake f under two constraints by augmented Lagrangian::

        Fisher: E_real f^2 / 2 + E_fake f^2 / 2 = 1        Sobolev: E_real ||grad v||^2 / 2 + E_fake ||grad v||^2 / 2 = 1

    and lowers `supervised` * CE of the labeled images; G raises E f(G(z)). Images of the data are the unlabeled ones. An attack
    on real images lowers f.

    Args:
        critic: What of the classes stands in f: the expected logit, or the expected log-probability.
        rho_fisher: rho of the Fisher constraint, in lambda c + rho / 2 c^2 and in the step rho c of lambda.
        rho_sobolev: The same of the Sobolev constraint.
        supervised: Weight of the labeled images' cross entropy.
    """

    differentiates: ClassVar[frozenset[str]] = frozenset({"real_view", "fake_view"})
    mean_over_images: ClassVar[bool] = False
    groups: ClassVar[bool] = True

    def __init__(
        self,
        *,
        critic: Literal["logits", "log-probabilities"] = "logits",
        rho_fisher: Rho = 5e-8,
        rho_sobolev: Rho = 2e-8,
        supervised: Annotated[float, gancore.Range(0)] = 1.5,
    ) -> None:
        super().__init__()
        self.plain = critic == "logits"
        self.fisher = Multiplier(rho_fisher)
        self.sobolev = Multiplier(rho_sobolev)
        self.supervised = supervised

    def critic(self, classes: Tensor, adversarial: Tensor) -> Tensor:
        """Return f (N,) of class logits (N, K) and logits (N,), which are high for real images."""
        expected = (classes.softmax(1) * (classes if self.plain else classes.log_softmax(1))).sum(1)
        return expected + adversarial

    def discriminator(
        self,
        *,
        real_view: Tensor,
        real_classes: Tensor,
        real_adversarial: Tensor,
        fake_view: Tensor,
        fake_classes: Tensor,
        fake_adversarial: Tensor,
        labelled_classes: Tensor,
        labelled_label: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar L_D of views (N, C, H, W), class logits (N, K), logits (N,) and labels (N,) int64."""
        real, fake = self.critic(real_classes, real_adversarial), self.critic(fake_classes, fake_adversarial)
        fisher = both_halves(real.square(), fake.square())
        sobolev = both_halves(squared_gradient(real_adversarial, real_view), squared_gradient(fake_adversarial, fake_view))
        loss = fake.mean() - real.mean() + self.fisher(fisher) + self.sobolev(sobolev)
        loss = loss + self.supervised * F.cross_entropy(labelled_classes, labelled_label)
        return loss, {"fisher": fisher, "sobolev": sobolev}

    def generator(self, *, fake_classes: Tensor, fake_adversarial: Tensor) -> Tensor:
        """Return the scalar L_G of class logits (N, K) and logits (N,)."""
        return -self.critic(fake_classes, fake_adversarial).mean()

    def attacked(self, *, real_classes: Tensor, real_adversarial: Tensor) -> Tensor:
        """Return -f of each real image (N,)."""
        return -self.critic(real_classes, real_adversarial)

    def observe(self, *, fisher: Tensor | None = None, sobolev: Tensor | None = None) -> None:
        """Take the multipliers' steps, in the discriminator's turn."""
        if fisher is not None and sobolev is not None:
            self.fisher.update(fisher)
            self.sobolev.update(sobolev)

    def monitor(self) -> dict[str, Tensor]:
        """Return both multipliers, for the log."""
        return {"fisher": self.fisher.value, "sobolev": self.sobolev.value}
