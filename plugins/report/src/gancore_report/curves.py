"""Curves of a chart: smoothed, thinned out. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs

_MOST_POINTS = 400
"""Longer curves are thinned out to about so many points."""

Point = tuple[float, float]


@attrs.frozen
class Curve:
    """A curve of one run.

    Attributes:
        run: Place of the run in the report, which gives its color and letter.
        name: The run's name.
        points: Iteration and value, by iteration.
    """

    run: int
    name: str
    points: Sequence[Point]


def window_of(lengths: Iterable[int]) -> int:
    """Return an odd number of values to average: a fortieth of the longest curve, 1 where curves are short."""
    longest = max(lengths, default=0)
    return longest // 80 * 2 + 1 if longest >= 160 else 3 if longest >= 30 else 1


def averaged(points: Sequence[Point], window: int) -> list[Point]:
    """Return centered moving averages; at the ends, of what there is of the window."""
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    averaged = []
    for place, (x, _) in enumerate(points):
        start, stop = max(0, place - window // 2), min(len(points), place + window // 2 + 1)
        averaged.append((x, (sums[stop] - sums[start]) / (stop - start)))
    return averaged


def thinned(points: Sequence[Point]) -> list[Point]:
    """Return the lowest and the highest point of each stretch, so that no peak is lost."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    width = math.ceil(len(points) / (_MOST_POINTS // 2))
    drawn: list[Point] = []
    for start in range(0, len(points), width):
        stretch = points[start : start + width]
        ends = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        drawn += sorted(ends)
    return drawn
