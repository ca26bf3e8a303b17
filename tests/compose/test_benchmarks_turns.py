"""Benchmarks' turns: who goes first changes, the warm-up does not count, and work is counted as it is carried out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from benchmarks import turns
from tests.compose.hosts import CPU


def test_turns_change_their_order_and_the_warm_up_does_not_count() -> None:
    taken: list[str] = []

    def contestant(name: str) -> Callable[[], float]:
        def once() -> float:
            taken.append(name)
            return float(len(taken))

        return once

    times = turns.take_turns({"a": contestant("a"), "b": contestant("b")}, 2)
    assert taken == ["b", "a", "a", "b", "b", "a", "a", "b", "b", "a"]
    assert times == {"a": [7.0, 10.0], "b": [8.0, 9.0]}


def test_an_iteration_is_timed_by_the_clock_that_is_asked_for() -> None:
    moments = iter([1.0, 3.5])
    steps: list[int] = []
    assert turns.timed(lambda: steps.append(1), CPU, lambda: next(moments))() == 2.5
    assert steps == [1]


def test_work_is_a_multiplication_and_an_addition_for_each_pair() -> None:
    image, kernels = torch.randn(2, 3, 8, 8), torch.randn(5, 3, 3, 3)
    assert turns.flop_of(lambda: torch.nn.functional.conv2d(image, kernels, padding=1)) == 2 * 2 * 8 * 8 * 5 * 3 * 9


def test_the_matrix_rate_is_the_better_of_both_kinds_of_work(monkeypatch: pytest.MonkeyPatch) -> None:
    product, convolution = 2 * 1024**3, 2 * 32 * 16 * 16 * 128 * 128 * 9
    for seconds in ((0.5, 0.01), (0.01, 0.5)):
        answers = iter(seconds)
        monkeypatch.setattr(turns, "_best", lambda *_, answers=answers: next(answers))
        assert turns.matrix_rate(torch.float32, lambda: 0.0) == max(product / seconds[0], convolution / seconds[1])


def test_shares_are_percent_and_empty_without_a_rate() -> None:
    assert [turns.share_of(1e9, 4e9), turns.share_of(1e9, None)] == ["25 %", ""]
