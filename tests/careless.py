"""A plugin whose term does what a term must not do, for `test_conformance`; processes of their own import it by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

import gancore
from gancore.parallel import distributed

Fault = Literal[
    "",
    "local mean",
    "own draws",
    "draws",
    "fails in one",
    "fails in both",
    "exits",
    "branches",
    "branches in observe",
    "branches in attacked",
    "differs",
]


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield gancore.Component("faulty", "tests.careless:Faulty", "A term with the fault that its setting names")
    yield gancore.Component("drawing", "tests.careless:Drawing", "A term that can only draw")


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield gancore.Component("branching", "tests.careless:Branching", "A head that looks at its values")


class Branching(gancore.Head):
    """A logit whose sign depends on what Python saw of it."""

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(features, 1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.linear(features).squeeze(1)
        return logits if logits.sum() > 0 else -logits


class Drawing(gancore.LossTerm):
    """Weighs images at random, in the one method that it has."""

    def generator(self, *, fake_adversarial: Tensor, noise: torch.Generator) -> Tensor:
        return (fake_adversarial * gancore.rand(fake_adversarial.shape, noise)).mean()


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
        if self.fault == "branches" and fake_adversarial.mean() > 0:
            return fake_adversarial.mean()
        if self.fault == "differs" and torch.compiler.is_compiling():
            return 2 * fake_adversarial.mean()
        return gancore.global_mean(fake_adversarial.mean()).square()

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return -real_adversarial.mean()

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        if self.fault == "branches in attacked" and real_adversarial.mean() > 0:
            return real_adversarial
        return -real_adversarial

    def observe(self, *, fake_adversarial: Tensor) -> None:
        if self.fault == "branches in observe" and fake_adversarial.mean() > 0:
            return
        self.seen.copy_(gancore.global_mean(fake_adversarial.mean()))
