"""Feature matching, historical averaging, and the semi-supervised loss of a discriminator with K + 1 classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore


class FeatureMatching(gancore.LossTerm):
    """The mean features of generated images equal those of real ones (section 3.1).

    The paper's generator descends ||E f(x) - E f(G(z))||_2^2, f being the discriminator's features; the authors' code takes the
    mean over the features, of the squares for MNIST and of the absolute values for CIFAR-10 and SVHN. It stands in the place of
    the generator's adversarial loss, which the recipe gives to the discriminator alone.

    Args:
        distance: Mean of absolute values, or of squares.
    """

    mean_over_images = False

    def __init__(self, *, distance: Literal["absolute", "squared"] = "absolute") -> None:
        super().__init__()
        self.distance = distance

    def generator(self, *, real_features: Tensor, fake_features: Tensor) -> Tensor:
        """Return the scalar loss for features (N, F)."""
        gap = gancore.global_mean(real_features.mean(0) - fake_features.mean(0))
        return gap.abs().mean() if self.distance == "absolute" else gap.square().mean()


class HistoricalAveraging(gancore.LossTerm):
    """Keeps each player's parameters near the mean of what they have been (section 3.3).

    The loss is ||theta - (1/t) sum_i theta[i]||^2, where theta[i] are the parameters in the player's i-th turn that the loss
    takes part in, the present one included; no gradient flows through the mean. So the past begins where the loss does
    (``start``). The paper gives no weight, and the authors' code does not have it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.turns: Tensor
        self.register_buffer("turns", torch.zeros(2, dtype=torch.int64))

    def prepare(self, *, player: str, parameters: list[Tensor]) -> None:
        """Start each mean from a player's parameters as they are, a copy."""
        for number, parameter in enumerate(parameters):
            self.register_buffer(f"{player}_{number}", parameter.detach().float().clone())

    def generator(self, *, parameters: list[Tensor]) -> Tensor:
        """Return the scalar distance of the generator's parameters."""
        return self._distance("generator", parameters)

    def discriminator(self, *, parameters: list[Tensor]) -> Tensor:
        """Return the scalar distance of the discriminator's parameters, heads included."""
        return self._distance("discriminator", parameters)

    def observe(self, *, player: str, parameters: list[Tensor]) -> None:
        """Take the parameters after a step into their mean."""
        turns = self._turns(player).add_(1)
        for mean, parameter in self._pairs(player, parameters):
            mean.lerp_(parameter.float(), 1 / (turns + 1))

    def _turns(self, player: str) -> Tensor:
        return self.turns[int(player == "generator")]

    def _distance(self, player: str, parameters: list[Tensor]) -> Tensor:
        first = (self._turns(player) == 0).float()
        with torch.no_grad():
            for mean, parameter in self._pairs(player, parameters):
                mean.lerp_(parameter.float(), first)
        return torch.stack([(parameter - mean).square().sum() for mean, parameter in self._pairs(player, parameters)]).sum()

    def _pairs(self, player: str, parameters: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        for number, parameter in enumerate(parameters):
            yield self.get_buffer(f"{player}_{number}"), parameter


class SemiSupervised(gancore.LossTerm):
    """The discriminator tells K classes of real images, and generated images as a further class (section 5).

    The further class's logit is 0, so that D(x) = Z(x) / (Z(x) + 1) with log Z(x) = l(x), the log-sum-exp of the K logits.
    As in the authors' code, which halves the paper's unsupervised loss::

        L_D = CE(labeled) + adversarial [-1/2 E l(x) + 1/2 E softplus(l(x)) + 1/2 E softplus(l(G(z)))]
        L_G = -E softplus(l(G(z)))

    L_G is for minibatch discrimination; feature matching has another in its place, so that a recipe with it names this term's
    ``players = ["discriminator"]``.

    Args:
        adversarial: Weight of what is not labeled; 0 learns from labels alone.
    """

    def __init__(self, *, adversarial: Annotated[float, gancore.Range(0)] = 1.0) -> None:
        super().__init__()
        self.adversarial = adversarial

    def discriminator(
        self, *, labelled_classes: Tensor, labelled_label: Tensor, real_classes: Tensor, fake_classes: Tensor
    ) -> Tensor:
        """Return the scalar L_D.

        Args:
            labelled_classes: Logits (N, K) of labeled images.
            labelled_label: Their classes (N,) int64.
            real_classes: Logits (N, K) of unlabeled images.
            fake_classes: Logits (N, K) of generated images.
        """
        real, fake = torch.logsumexp(real_classes, 1), torch.logsumexp(fake_classes, 1)
        unsupervised = (F.softplus(real) - real).mean() / 2 + F.softplus(fake).mean() / 2
        return F.cross_entropy(labelled_classes, labelled_label) + self.adversarial * unsupervised

    def generator(self, *, fake_classes: Tensor) -> Tensor:
        """Return the scalar L_G, at most 0."""
        return -F.softplus(torch.logsumexp(fake_classes, 1)).mean()
