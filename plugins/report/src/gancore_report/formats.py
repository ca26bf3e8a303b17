"""Numbers as text, as the report writes them."""

from __future__ import annotations

import math

import gancore_training

TIMES = "\N{MULTIPLICATION SIGN}"
_MINUS = "\N{MINUS SIGN}"
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def full(value: float, digits: int = 4) -> str:
    """Return a number to so many significant digits; whole numbers below a billion keep all of theirs."""
    if not math.isfinite(value):
        return _not_finite(value)
    if value == int(value) and abs(value) < 1e9:
        return minus(f"{int(value):,}")
    if 1e-3 <= abs(value) < 1e6:
        return minus(f"{value:,.{max(0, digits - 1 - math.floor(math.log10(abs(value))))}f}")
    return scientific(value, digits)


def short(value: float) -> str:
    """Return a number as short as a label must be: ``1.5k``, ``20M``, ``0.25``."""
    if not math.isfinite(value):
        return _not_finite(value)
    if abs(value) >= 9999.5 or (abs(value) >= 1000 and value % 100 == 0):
        size, suffix = next((pair for pair in _SUFFIXES if abs(value) >= pair[0]), _SUFFIXES[-1])
        return minus(f"{value / size:.4g}") + suffix if abs(value) < 1e15 else scientific(value, 2)
    if value and abs(value) < 1e-4:
        return scientific(value, 2)
    return minus(f"{value:.4g}")


def percent(share: float) -> str:
    """Return a share of one in percent, to two significant digits or to one decimal."""
    if not math.isfinite(share):
        return _not_finite(share)
    return minus(f"{100 * share:.2g}" if 0 < abs(share) < 0.01 else f"{100 * share:.3g}") + " %"


def duration(seconds: float) -> str:
    """Return a time span in its two largest units."""
    return gancore_training.duration(seconds) if math.isfinite(seconds) else _not_finite(seconds)


def scientific(value: float, digits: int) -> str:
    """Return a number to so many digits times a power of ten."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] if digit.isdigit() else "⁻" for digit in str(int(exponent)))
    return f"{minus(mantissa)} {TIMES} 10{power}"


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else minus("-∞" if value < 0 else "∞")


def minus(text: str) -> str:
    """Return a number as text with minus signs instead of hyphens."""
    return text.replace("-", _MINUS)
