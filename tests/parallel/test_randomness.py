"""Seeds are a function of what they are for."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gancore.parallel.randomness import computed_on_host, drawing_from, noise_for, seed_default
from tests.hosts import CPU, run_of, steps


def test_a_seeded_default_generator_draws_what_torch_draws_after_its_own_seeding() -> None:
    torch.manual_seed(2**62 + 5)
    expected = torch.rand(8)
    seed_default(CPU, 2**62 + 5)
    assert torch.equal(torch.rand(8), expected)


class Twice:
    """A source that hands out a generator and an input of its own."""

    def __init__(self) -> None:
        self.rng = torch.Generator()
        self.counts: list[int] = []

    def generator(self, kind: Any, device: Any, seed: int, purpose: tuple[str | int, ...]) -> Any:
        return self.rng

    def seed_default(self, seed: int, purpose: tuple[str | int, ...]) -> None: ...

    def input(self, make: Callable[[int], Tensor], count: int) -> Tensor:
        self.counts.append(count)
        return 2 * make(count)


def test_what_an_iteration_takes_from_the_host_comes_from_the_source_that_is_set() -> None:
    source = Twice()
    with drawing_from(source):
        assert noise_for("cpu", 0, "any") is source.rng
        assert computed_on_host(torch.arange, 3).tolist() == [0, 2, 4]
        with drawing_from(None):
            assert computed_on_host(torch.arange, 3).tolist() == [0, 1, 2]
    assert source.counts == [3]
    assert computed_on_host(torch.arange, 3).tolist() == [0, 1, 2]
    assert noise_for("cpu", 0, "any") is not source.rng


def test_a_turn_takes_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As seeding a GPU that was never started does, at the cost of a small turn's arithmetic."""
    run = steps(run_of(), 1)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a traceback was taken")

    monkeypatch.setattr(traceback, "format_stack", refuse)
    monkeypatch.setattr(traceback, "extract_stack", refuse)
    steps(run, 2)
