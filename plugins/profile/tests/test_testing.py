"""Components of the installed plugins compile, and the check of it finds those that don't."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import torch
from gancore_profile.testing import _cases, compiles, problem_of
from torch import Tensor

import gancore
from gancore.testing import host_registry

HERE = __name__

test_standard_compiles = compiles("standard", {"per-class": {"count": 3}, "take-classes": {"keep": [0, 2]}})
test_cbgan_compiles = compiles("cbgan", {"resize-crop": {"size": 10, "crop": 8}})
test_dsgan_compiles = compiles("dsgan")
test_fastrobgan_compiles = compiles("fastrobgan")
test_uap_compiles = compiles("uap")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield gancore.Component("faulty", f"{HERE}:Faulty", "A term with the fault that its setting names")
    yield gancore.Component("drawing", f"{HERE}:Drawing", "A term that only draws")


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield gancore.Component("branching", f"{HERE}:Branching", "A head that looks at its values")


class Branching(gancore.Head):
    """A logit whose sign depends on what Python saw of it."""

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(features, 1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.linear(features).squeeze(1)
        return logits if logits.sum() > 0 else -logits


class Drawing(gancore.LossTerm):
    """Draws in its one method."""

    def generator(self, *, fake_adversarial: Tensor, noise: torch.Generator) -> Tensor:
        return (fake_adversarial * gancore.rand(fake_adversarial.shape, noise)).mean()


class Faulty(gancore.LossTerm):
    """Does what its setting says.

    Args:
        fault: What it does.
    """

    seen: Tensor

    def __init__(self, *, fault: Literal["", "draws", "generator", "attacked", "observe", "differs"] = "") -> None:
        super().__init__()
        self.fault = fault
        self.register_buffer("seen", torch.zeros(()))

    def generator(self, *, fake_adversarial: Tensor, noise: torch.Generator) -> Tensor:
        if self.fault == "draws":
            return (fake_adversarial * gancore.rand(fake_adversarial.shape, noise)).mean()
        if self.fault == "generator" and fake_adversarial.mean() > 0:
            return fake_adversarial.mean()
        if self.fault == "differs" and torch.compiler.is_compiling():
            return 2 * fake_adversarial.mean()
        return fake_adversarial.mean().square()

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return -real_adversarial.mean()

    def attacked(self, *, real_adversarial: Tensor) -> Tensor:
        if self.fault == "attacked" and real_adversarial.mean() > 0:
            return real_adversarial
        return -real_adversarial

    def observe(self, *, fake_adversarial: Tensor) -> None:
        if self.fault == "observe" and fake_adversarial.mean() > 0:
            return
        self.seen.copy_(fake_adversarial.mean())


COMPONENTS = host_registry({"careless": sys.modules[HERE]})


def problem_of_term(fault: str) -> str | None:
    return problem_of("loss", Faulty, "careless/faulty", {"fault": fault}, COMPONENTS)


@pytest.mark.parametrize("method", ["generator", "observe", "attacked"])
def test_a_method_that_cannot_be_traced_is_found(method: str) -> None:
    problem = problem_of_term(method)
    assert problem is not None
    assert f"can't trace {method}: Data-dependent branching" in problem
    assert "test_testing.py" in problem
    assert "torch.where" in problem


def test_a_term_that_computes_something_else_compiled_is_found() -> None:
    problem = problem_of_term("differs")
    assert problem is not None
    assert re.match(r"compiled, [a-z, ]*generator[a-z, ]* give other values in", problem)
    assert "network.generator/linear.weight" in problem


def test_a_term_that_draws_is_traced_but_for_the_method_that_does() -> None:
    assert problem_of_term("") is None
    assert problem_of_term("draws") is None
    with pytest.raises(pytest.skip.Exception, match=r"torch\.Generator"):
        problem_of("loss", Drawing, "careless/drawing", {}, COMPONENTS)


def test_a_head_that_cannot_be_traced_is_found() -> None:
    problem = problem_of("head", Branching, "careless/branching", {}, COMPONENTS)
    assert problem is not None
    assert "can't trace forward" in problem


def test_what_is_not_installed_fails() -> None:
    cases: dict[str, Any] = dict(_cases("penaltyy", {}))
    with pytest.raises(pytest.fail.Exception, match="no installed distribution has an entry point 'penaltyy'"):
        cases["is sound"]()
