"""A plugin whose term does what a term must not do, for `test_conformance`; processes of their own import it by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

import gancore
from gancore.tools import distributed

Fault = Literal[
    "",
    "local mean",
    "own draws",
    "draws",
    "fails in one",
    "fails in both",
    "exits",
]


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield gancore.Component("faulty", "plugins.testing.tests.careless:Faulty", "A term with the fault that its setting names")


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield gancore.Component(
        "comparing", "plugins.testing.tests.careless:Comparing", "A head with the fault that its setting names"
    )


class Comparing(gancore.Head):
    """Adds to each logit how close the batch's other images are.

    Args:
        fault: Whose images, or whose gradients, it leaves out.
    """

    batch_statistics = True

    def __init__(self, *, features: int, fault: Literal["", "own images", "own gradients"] = "") -> None:
        super().__init__()
        self.linear = nn.Linear(features, 1)
        self.fault = fault

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        everyone = features if self.fault == "own images" else gancore.gather(features)
        if self.fault == "own gradients":
            # Exact where every process computes the same loss of the rows, and each has logits of its own images alone.
            pieces = list(everyone.detach().split(len(features)))
            pieces[distributed.rank()] = features.detach() + distributed.world_size() * (features - features.detach())
            everyone = torch.cat(pieces)
        closeness = torch.exp(-(features[:, None] - everyone[None]).abs().sum(2)).sum(1)
        logits: Tensor = self.linear(features).squeeze(1) + closeness
        return logits


class Faulty(gancore.LossTerm):
    """Does what its setting says.

    Args:
        fault: What it does.
    """

    seen: Tensor

    def __init__(self, *, fault: Fault = "") -> None:
        super().__init__()
        self.fault = fault
        self.register_buffer("seen", torch.zeros(()))

    def generator(self, *, fake_adversarial: Tensor, noise: torch.Generator) -> Tensor:
        if self.fault == "local mean":
            return fake_adversarial.mean().square()
        if self.fault == "own draws":
            return (fake_adversarial * torch.rand(fake_adversarial.shape, generator=noise)).mean()
        if self.fault == "draws":
            return (fake_adversarial * gancore.rand(fake_adversarial.shape, noise)).mean()
        if self.fault == "fails in both" and distributed.world_size() > 1:
            raise ValueError("several processes are too many")
        if self.fault == "fails in one" and distributed.rank() == 1:
            raise ValueError("this process fails alone")
        if self.fault == "exits" and distributed.rank() == 1:
            raise SystemExit(3)
        return gancore.global_mean(fake_adversarial.mean()).square()

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return -real_adversarial.mean()

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        return -real_adversarial

    def observe(self, *, fake_adversarial: Tensor) -> None:
        self.seen.copy_(gancore.global_mean(fake_adversarial.mean()))
