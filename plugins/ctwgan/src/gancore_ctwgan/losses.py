"""The consistency term: what the discriminator says of a real image should not depend on which units dropout leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore

Weight = Annotated[float, gancore.Range(0)]


class _Twice(gancore.LossTerm):
    """The discriminator sees real images a second time, under other dropout.

    Args:
        strength: lambda_2, which multiplies both distances.
        features: Weight of the features' distance beside that of the output.
        margin: M', what the two may cost for nothing.
    """

    extra_views: ClassVar[Mapping[str, str]] = {"second": "repeat"}
    groups: ClassVar[bool] = True

    def __init__(self, *, strength: Weight, features: Weight, margin: Weight) -> None:
        super().__init__()
        self.strength = strength
        self.features = features
        self.margin = margin
        self.largest: Tensor
        self.register_buffer("largest", torch.zeros(()))
        self.turns: Tensor
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))

    def repeat(self, *, real_view: Tensor) -> Tensor:
        """Return the images (N, C, H, W) that the discriminator sees once more: the same."""
        return real_view

    def excess(self, distance: Tensor, features: Tensor, second: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar term, and the largest distance.

        Args:
            distance: Between the two outputs of each image (N,).
            features: Features (N, F) of the first pass.
            second: Features (N, F) of the second.
        """
        both = distance + self.features * (features - second).square().mean(1)
        return F.relu(self.strength * both - self.margin).mean(), {"largest": both.detach().amax()}

    def observe(self, *, largest: Tensor) -> None:
        """Take the largest distance of a turn in."""
        self.turns.add_(1)
        torch.maximum(self.largest, gancore.global_mean(largest), out=self.largest)

    def monitor(self) -> dict[str, Tensor]:
        """Return the largest distance so far.

        Raises:
            GancoreError: All of them are 0, so that the term does nothing.
        """
        if self.turns > 0 and self.largest == 0:
            raise gancore.GancoreError(
                "the discriminator says the same of an image twice, so the consistency term does nothing; give it dropout, "
                "by its network (ctwgan/critic) or its head (ctwgan/linear)."
            )
        return {"largest": self.largest}


class Consistency(_Twice):
    """Two passes of a real image under other dropout are given alike (Wei et al. 2018, Eq. 4 and 5; in the authors' form).

    E max(0, lambda_2 [(D(x') - D(x''))^2 + 0.1 mean_f (D_f(x') - D_f(x''))^2] - M'), D_f being the features before the logit.
    It stands beside the Wasserstein loss and its gradient penalty. Dropout must be there, in the backbone or the head.

    Args:
        strength: lambda_2, which multiplies both distances.
        features: Weight of the features' distance beside that of the logit.
        margin: M'. The authors' code has 0; the paper finds no difference from 0 to 0.2.
    """

    def __init__(self, *, strength: Weight = 2.0, features: Weight = 0.1, margin: Weight = 0.0) -> None:
        super().__init__(strength=strength, features=features, margin=margin)

    def discriminator(
        self, *, real_adversarial: Tensor, second_adversarial: Tensor, real_features: Tensor, second_features: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar term, of logits (N,) and features (N, F) of both passes."""
        return self.excess((real_adversarial - second_adversarial).square(), real_features, second_features)


class ClassConsistency(_Twice):
    """The same for a discriminator that tells classes, without labels (the authors' code for MNIST with 100 labels).

    E max(0, lambda_2 [mean_k (p_k(x') - p_k(x''))^2 + features mean_f (D_f(x') - D_f(x''))^2] - M'), with the classes'
    probabilities p.

    Args:
        strength: lambda_2; 0.1 for MNIST.
        features: Weight of the features' distance; the authors found it to make MNIST's training unstable.
        margin: M'.
    """

    def __init__(self, *, strength: Weight = 0.1, features: Weight = 0.0, margin: Weight = 0.0) -> None:
        super().__init__(strength=strength, features=features, margin=margin)

    def discriminator(
        self, *, real_classes: Tensor, second_classes: Tensor, real_features: Tensor, second_features: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar term, of logits (N, K) and features (N, F) of both passes."""
        distance = (real_classes.softmax(1) - second_classes.softmax(1)).square().mean(1)
        return self.excess(distance, real_features, second_features)
