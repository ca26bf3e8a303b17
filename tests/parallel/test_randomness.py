"""Seeds are a function of what they are for."""

from __future__ import annotations

import traceback

import pytest
import torch

from gancore.parallel.randomness import seed_default
from tests.hosts import CPU, run_of, steps


def test_a_seeded_default_generator_draws_what_torch_draws_after_its_own_seeding() -> None:
    torch.manual_seed(2**62 + 5)
    expected = torch.rand(8)
    seed_default(CPU, 2**62 + 5)
    assert torch.equal(torch.rand(8), expected)


def test_a_turn_takes_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """As seeding a GPU that was never started does, at the cost of a small turn's arithmetic."""
    run = steps(run_of(), 1)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a traceback was taken")

    monkeypatch.setattr(traceback, "format_stack", refuse)
    monkeypatch.setattr(traceback, "extract_stack", refuse)
    steps(run, 2)
