"""Where a training's time went, from the lines of its log and scores."""

from __future__ import annotations

import attrs
import pytest
from gancore_report.wall_clock import WallClock, wall_clock


@attrs.frozen
class Line:
    iteration: int
    seconds: float | None


def test_of_an_iterations_evaluations_the_first_counts() -> None:
    log = [Line(10, 5.0), Line(20, 12.0)]
    spent = wall_clock(log, [Line(10, 1.0), Line(20, 3.0), Line(20, 50.0)])
    assert spent == WallClock(12.0, 4.0)
    assert spent.share == pytest.approx(0.25)


@pytest.mark.parametrize("unknown", [None, float("nan"), -3.0])
def test_a_time_that_is_not_known_counts_nothing(unknown: float | None) -> None:
    assert wall_clock([Line(5, 2.5)], [Line(2, unknown), Line(5, 1.0)]) == WallClock(2.5, 1.0)


def test_where_nothing_was_measured_there_is_no_share() -> None:
    assert wall_clock([], []) == WallClock(0.0, 0.0)
    assert WallClock(0.0, 0.0).share is None
