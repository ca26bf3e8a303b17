"""Plots of lines: fooling rates against budgets, and classes against cycles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image

import gancore
from gancore_uap.budgets import LEVELS
from gancore_uap.sheet import FAINT, FONT, RULE, Color, Sheet, fit_text, plain_text, text_width

_LINES: tuple[Color, ...] = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 140, 105),
    (190, 100, 150),
    (200, 140, 0),
    (70, 165, 215),
    (30, 30, 30),
)
"""Distinguishable with color blindness."""


def sweep_picture(curves: Mapping[str, Mapping[float, float]]) -> Image.Image:
    """Return a plot of fooling rates against the budget, one line for each name.

    Args:
        curves: Name -> budget on the [0, 1] scale of pixels -> fooling rate from 0 to 1.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: There is nothing to draw, or a budget or a rate is out of its range.
    """
    _check_curves(curves)
    scaled = {name: {e * LEVELS: 100 * rate for e, rate in curve.items()} for name, curve in curves.items()}
    return _plot(scaled, ("budget epsilon, in levels of 255", "fooling rate"), top=100, unit=" %")


def classes_picture(cycles: Sequence[int], classes: int, *, each: Sequence[int], so_far: Sequence[int]) -> Image.Image:
    """Return a plot of the distinct predicted classes of a proxy set against its cycles (CBGAN Fig. 7).

    Args:
        cycles: Iteration at which each cycle ended.
        classes: Classes that there are.
        each: Distinct classes of each cycle.
        so_far: Distinct classes of all cycles up to each.

    Returns:
        An RGB picture.

    Raises:
        GancoreError: There is no cycle.
    """
    if not cycles:
        raise gancore.GancoreError("a plot of classes needs at least one cycle; sample some.")
    curves = {
        "of all cycles so far": dict(zip(map(float, cycles), map(float, so_far), strict=True)),
        "of the cycle": dict(zip(map(float, cycles), map(float, each), strict=True)),
    }
    return _plot(curves, ("iteration at the end of the cycle", f"distinct classes, of {classes}"), top=classes)


def _plot(curves: Mapping[str, Mapping[float, float]], names: tuple[str, str], *, top: float, unit: str = "") -> Image.Image:
    """Return a plot of lines over axes that begin at 0; the names are those of the axes."""
    side, high, margin, left, line = 520, 320, 16, 62, 22
    per_row = 2 if all(text_width(plain_text(name), FONT) <= side / 2 - 46 for name in curves) else 1
    below = 62
    legend = math.ceil(len(curves) / per_row) * line
    sheet = Sheet(left + side + 2 * margin, margin + high + below + legend + margin // 2)
    most = max(x for curve in curves.values() for x in curve)
    step = _step(most)
    reach = math.ceil(most / step - 1e-6) * step
    rise = _step(top)
    # Half as many rules as ticks would do.
    rise = 2 * rise if top / rise > 5 else rise

    def place(x: float, y: float) -> tuple[float, float]:
        return left + x / reach * side, margin + (1 - y / top) * high

    for k in range(math.floor(top / rise + 1e-6) + 1):
        _, y = place(0, k * rise)
        sheet.line([(left, y), (left + side, y)], RULE, 1)
        sheet.text(left - 8, y, f"{k * rise:g}{unit}", FONT, "rm")
    for k in range(round(reach / step) + 1):
        x, y = place(k * step, 0)
        sheet.line([(x, y), (x, y + 5)], FAINT, 1)
        sheet.text(x, y + 16, f"{k * step:g}", FONT, "mm")
    sheet.line([(left, margin), (left, margin + high), (left + side, margin + high)], FAINT, 1)
    sheet.text(left + side / 2, margin + high + 36, names[0], FONT, "mm", FAINT)
    for number, (name, curve) in enumerate(curves.items()):
        color, shape = _LINES[number % len(_LINES)], number // len(_LINES)
        points = [place(x, curve[x]) for x in sorted(curve)]
        sheet.line(points, color, 2)
        for x, y in points:
            sheet.dot(x, y, color, shape)
        x = left + (number % per_row) * side / per_row
        y = margin + high + below + (number // per_row) * line
        sheet.line([(x, y), (x + 26, y)], color, 2)
        sheet.dot(x + 13, y, color, shape)
        sheet.text(x + 34, y, fit_text(name, side / per_row - 46, FONT, 1)[0], FONT, "lm")
    # The axis' name, turned, would cost more room than these words, which stand below the top rule.
    sheet.text(left + 8, margin + 10, names[1], FONT, "lm", FAINT)
    return sheet.done()


def _step(most: float) -> float:
    """Return a round distance of ticks, of which 4 to 10 reach up to a number."""
    power = math.pow(10, math.floor(math.log10(most)))
    return next(factor * power for factor in (0.1, 0.2, 0.5, 1.0, 2.0) if most / (factor * power) <= 10)


def _check_curves(curves: Mapping[str, Mapping[float, float]]) -> None:
    if not curves or not all(curves.values()):
        raise gancore.GancoreError("a plot of fooling rates needs at least one budget on every line; score some.")
    for name, curve in curves.items():
        for epsilon, rate in curve.items():
            if not (0 <= epsilon <= 1 and 0 <= rate <= 1):
                raise gancore.GancoreError(
                    f"{name}: a budget and a fooling rate lie from 0 to 1, and {epsilon:g} and {rate:g} do not both; "
                    "give budgets on the [0, 1] scale and rates as shares."
                )
    if not any(epsilon > 0 for curve in curves.values() for epsilon in curve):
        raise gancore.GancoreError("a plot of fooling rates needs a budget above 0; score some.")
