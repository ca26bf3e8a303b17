"""The host's own time: what is arithmetic and what is not, and what is counted."""

from __future__ import annotations

import sys

import pytest
import torch
from gancore_profile.host_time import arithmetic, calls_of, host_time

from tests.compose.hosts import CBGAN, run_of, steps


def test_a_launch_of_each_call_is_no_arithmetic() -> None:
    iterations = [{"mul": [5e-6, 1e-6], "conv": [90e-6]}] * 3
    assert arithmetic(iterations, launch=2e-6) == pytest.approx(3e-6 + 88e-6)
    assert arithmetic(iterations, launch=1.0) == 0


def test_what_interrupts_one_iteration_is_none_either() -> None:
    usual = {"mul": [5e-6, 1e-6]}
    assert arithmetic([usual, {"mul": [900e-6, 1e-6]}, usual], launch=0) == pytest.approx(6e-6)


def test_operators_that_are_slow_in_turn_are_arithmetic() -> None:
    # Of each alone the usual time is 1; of an iteration it is 1 + 1 + 10.
    iterations = [
        {"mul": [10e-6, 1e-6], "conv": [1e-6]},
        {"mul": [1e-6, 10e-6], "conv": [1e-6]},
        {"mul": [1e-6, 1e-6], "conv": [10e-6]},
    ]
    assert arithmetic(iterations, launch=0) == pytest.approx(12e-6)


def test_calls_are_those_of_python() -> None:
    run = run_of(CBGAN)
    steps(run, 3)
    plain = calls_of(run.step)
    assert calls_of(run.step) == plain

    def hook(*_: object) -> None:
        for _ in range(100):
            len("")

    run.networks["classifier"].register_forward_hook(hook)
    assert plain + 101 <= calls_of(run.step) < plain + 150
    assert sys.getprofile() is None


def test_an_iteration_under_observation_is_one_like_any_other() -> None:
    observed, plain = run_of(CBGAN), run_of(CBGAN)
    steps(observed, 2)
    steps(plain, 2)
    measured = host_time(observed, 3)
    steps(plain, observed.iteration - plain.iteration)
    assert all(torch.equal(a, b) for a, b in zip(observed.tensors().values(), plain.tensors().values(), strict=True))
    assert measured.operators > 100
    assert measured.arithmetic > 0
    assert 0 < measured.launch < 1e-3
