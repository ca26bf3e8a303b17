"""Schedules against their papers, and against what others computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gancore_standard.schedules import cosine, exponential, linear, steps

from gancore import GancoreError
from tests.compose.hosts import plan_of


def test_schedules_are_what_their_papers_say() -> None:
    assert exponential(base=0.5, period=80_000)(160_000) == pytest.approx(0.25)
    later = exponential(base=0.5, period=10, start=100)
    assert [later(0), later(100), later(120)] == pytest.approx([1, 1, 0.25])
    assert [linear(iterations=10)(i) for i in (0, 5, 10)] == [1.0, 0.5, 0.0]
    assert linear(iterations=10, start=5)(5) == 1.0
    assert cosine(iterations=10)(10) == pytest.approx(0.0)
    assert cosine(iterations=10, warmup=4)(1) == 0.5


def test_the_steps_schedule_is_ldam_drws(parity: Callable[[str], dict[str, Any]]) -> None:
    expected = parity("ldam_drw")["lr_schedule_base0.1"]
    # One iteration an epoch: a rise over 5 epochs, then x 0.01 from epoch 160 and again from 180 (0-based).
    factor = steps(at=[160, 180], factor=0.01, warmup=5)
    assert [0.1 * factor(epoch) for epoch in range(200)] == pytest.approx(expected.tolist())


def test_the_linear_schedule_stops_at_its_floor() -> None:
    factor = linear(iterations=100, start=20, floor=0.25)
    assert [factor(i) for i in (0, 20, 60, 80, 99, 100, 1000)] == pytest.approx([1, 1, 0.5, 0.25, 0.25, 0.25, 0.25])
    plain = linear(iterations=100, start=20)
    assert [plain(i) for i in (0, 20, 60, 100, 1000)] == pytest.approx([1, 1, 0.5, 0, 0])
    assert {linear(iterations=100, floor=1.0)(i) for i in (0, 50, 100)} == {1.0}
    for floor in (-0.1, 1.5):
        table = {"optimizers": {"generator": {"schedule": {"use": "linear", "floor": floor}}}}
        with pytest.raises(GancoreError, match=r"floor must be a number in \[0, 1\]"):
            plan_of(table)
