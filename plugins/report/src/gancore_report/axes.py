"""Axes of charts: where they end, and round numbers on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

from gancore_report.formats import minus, scientific, short

LARGEST = 1e150
"""Values beyond are as good as not finite, and would overflow an axis."""


@attrs.frozen
class Axis:
    """A vertical axis: its ends, its ticks, and whether it is logarithmic."""

    low: float
    high: float
    ticks: Sequence[float]
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the lower end and 1 at the upper."""
        if self.log:
            if value <= 0:
                return -1.0
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def bar_axis(values: Sequence[float]) -> Axis:
    """Return an axis that holds zero and all finite values."""
    finite = [value for value in values if abs(value) < LARGEST]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    if high - low < 1e-100:
        high = 1.0
    # The axis ends at ticks.
    spaced = ticks(low, high)
    step = spaced[1] - spaced[0]
    low, high = step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)
    return Axis(low, high, ticks(low, high, 7))


def line_axis(values: Sequence[float], behind: Sequence[float], *, log: bool) -> Axis:
    """Return an axis that holds all values, and of those behind them all but the outermost hundredths."""
    ordered = sorted(behind)
    cut = len(ordered) // 100
    held = [*values, *ordered[cut : len(ordered) - cut]]
    low, high = min(held), max(held)
    if log and low > 1e-100 and high / low >= 50:
        low, high = low / 1.15, high * 1.15
        return Axis(low, high, log_ticks(low, high), log=True)
    whole = all(value == int(value) for value in held)
    # Values that differ by rounding alone are shown as equal.
    room = 0.06 * (high - low) if high - low > 1e-9 * max(abs(high), 1e-100) else 0.1 * abs(high) or 1.0
    if whole:
        room = max(room, 0.5)
    # Zero is a meaningful end: an axis does not go below it for the sake of room alone.
    bottom = 0.0 if low >= 0 and low - room < 0.15 * (high - low) else low - room
    top = 0.0 if high <= 0 and bottom < 0 and high + room > -0.15 * (high - low) else high + room
    return Axis(bottom, top, ticks(bottom, top, whole=whole))


def ticks(low: float, high: float, most: int = 6, *, whole: bool = False) -> list[float]:
    """Return round numbers, evenly spaced by 1, 2 or 5 times a power of ten, within ``[low, high]``.

    Args:
        low: Lower end.
        high: Upper end, above the lower.
        most: At most so many of them.
        whole: Only whole numbers.
    """
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    while (high - low) / step > most - 1 + 1e-9:
        # 1, 2, 5, 10 times the power of ten
        step *= 2.5 if round(step / 10.0 ** math.floor(math.log10(step) + 1e-9)) == 2 else 2.0
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def labels(spaced: Sequence[float]) -> list[str]:
    """Return the labels of evenly spaced ticks: no longer than they must be to differ, and with as many decimals each."""
    step = spaced[1] - spaced[0] if len(spaced) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    plain = [short(0.0 if abs(tick) < 1e-9 * step else tick) for tick in spaced]
    if decimals > 6:
        digits = max(1, 1 + decimals + math.floor(math.log10(max(map(abs, spaced)))))
        return [scientific(tick, digits) if abs(tick) > 1e-9 * step else "0" for tick in spaced]
    if not decimals and len(set(plain)) == len(plain):
        return plain
    return [minus(f"{tick:,.{decimals}f}") if abs(tick) > 1e-9 * step else "0" for tick in spaced]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, or as many of them as fit, within ``[low, high]``, both above 0."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for leading in ((1, 2, 5), (1, 3), (1,)):
        fitting = [k * 10.0**n for n in range(first, last + 1) for k in leading if low <= k * 10.0**n <= high]
        if len(fitting) <= most:
            return fitting
    return fitting[:: math.ceil(len(fitting) / most)]
