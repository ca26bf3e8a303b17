"""Tables of scores for a terminal and in Markdown. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

ARROWS = {"lower": " ↓", "higher": " ↑"}
"""Stand behind a score's name, by which of its values are better."""

MISSING = "-"
"""Stands where a run has no value."""

_GAP = "  "


def plain(lines: Sequence[Sequence[str]], widest: int | None = None) -> list[str]:
    """Return the lines of a table for a terminal: the first column to the left, all others to the right.

    Args:
        lines: The cells of each line, header included; all lines have as many.
        widest: Characters of a line. A wider table is broken between columns, and the first column stands again before the
            rest. None breaks nothing.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    parts: list[list[int]] = [[]]
    for place, width in enumerate(widths[1:], 1):
        taken = widths[0] + sum(len(_GAP) + widths[other] for other in parts[-1])
        if widest is not None and parts[-1] and taken + len(_GAP) + width > widest:
            parts.append([])
        parts[-1].append(place)
    made: list[str] = []
    for part in parts:
        made += [""] * bool(made)
        for line in lines:
            cells = [line[0].ljust(widths[0]), *(line[place].rjust(widths[place]) for place in part)]
            made.append(_GAP.join(cells).rstrip())
    return made


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown; blanks that align cells are dropped."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return ["| " + " | ".join(cell.strip().replace("|", "\\|") for cell in line) + " |" for line in (header, rule, *rows)]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample deviation, which one value has none of."""
    mean = _sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    # A product overflows to infinity where a power raises.
    return mean, math.sqrt(_sum([(value - mean) * (value - mean) for value in values]) / (len(values) - 1))


def decimals(values: Sequence[float]) -> int:
    """Return with how many decimals a column is written: four digits of its largest value, six decimals at most."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(6, max(0, 3 - math.floor(math.log10(largest)))) if largest else 4


def spread(values: Sequence[float], digits: int) -> str:
    """Return the mean of values, and behind it, where there are several, their sample deviation."""
    mean, deviation = mean_and_deviation(values)
    return f"{mean:.{digits}f}" if deviation is None else f"{mean:.{digits}f} ± {deviation:.{digits}f}"


def _sum(values: Sequence[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # infinities of both signs, or a sum beyond the largest float
        return sum(values)
