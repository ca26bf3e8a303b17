"""Budgets of attacks, as numbers on the scale of images or as levels of a pixel: ``8/255``."""

from __future__ import annotations

import math
import re

from gancore import GancoreError
from gancore.tools import shown

WIDTH = 2.0
"""Width of the range [-1, 1] of an image's pixel."""

LEVELS = 255

_SHARE = re.compile(r"(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)")


def budget(value: float | str, what: str = "epsilon", *, width: float = WIDTH) -> float:
    """Return a budget on the scale of images.

    Args:
        value: A number, which is on that scale, or a text such as ``8/255``, which is a share of the range of a pixel, as
            papers write it: 8 of 255 levels, on the [-1, 1] scale 16/255.
        what: Names it in the error.
        width: Width of the scale.

    Raises:
        GancoreError: It is neither.
    """
    if not isinstance(value, str):
        return value
    share = _SHARE.fullmatch(value.replace(" ", ""))
    try:
        number = width * float(share[1]) / float(share[2]) if share else float(value)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if math.isfinite(number):
        return number
    levels = "write levels of a pixel as 8/255, or a number"
    raise GancoreError(f"{what} = {shown(value)} is no budget; {levels}, which is {width * 8 / LEVELS:.4f} for that.")


def budgets(text: str, what: str, *, width: float = WIDTH) -> list[float]:
    """Return the budgets of a text that has commas between them, each as `budget` reads it."""
    return [budget(word.strip(), what, width=width) for word in text.split(",")]


def in_levels(epsilon: float) -> str:
    """Return a budget on the [-1, 1] scale as levels of a pixel, e.g. ``8/255``."""
    return f"{epsilon / WIDTH * LEVELS:.3g}/{LEVELS}"
