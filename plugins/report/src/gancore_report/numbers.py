"""Numbers as text, and round numbers for axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

TIMES = "\N{MULTIPLICATION SIGN}"
_MINUS = "\N{MINUS SIGN}"
_SUFFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def full(value: float, digits: int = 4) -> str:
    """Return a number to so many significant digits; whole numbers below a billion keep all of theirs."""
    if not math.isfinite(value):
        return _not_finite(value)
    if value == int(value) and abs(value) < 1e9:
        return _minus(f"{int(value):,}")
    if 1e-3 <= abs(value) < 1e6:
        return _minus(f"{value:,.{_decimals(abs(value), digits)}f}")
    return _scientific(value, digits)


def aligned(values: Sequence[float], digits: int = 4) -> list[str]:
    """Return numbers that stand side by side with as many decimals each, after the largest of them."""
    finite = [abs(value) for value in values if math.isfinite(value)]
    largest = max(finite, default=0.0)
    if not largest or not 1e-3 <= largest < 1e6 or all(value == int(value) for value in finite):
        return [full(value, digits) for value in values]
    decimals = _decimals(largest, digits)
    # A number that would lose its first digit to the others' decimals is written in its own way.
    tiny = 10.0**-decimals
    return [
        full(value, digits) if not math.isfinite(value) or 0 < abs(value) < tiny else _minus(f"{value:,.{decimals}f}")
        for value in values
    ]


def short(value: float) -> str:
    """Return a number as short as a label must be: ``1.5k``, ``20M``, ``0.25``."""
    if not math.isfinite(value):
        return _not_finite(value)
    if abs(value) >= 9999.5 or (abs(value) >= 1000 and value % 100 == 0):
        size, suffix = next((pair for pair in _SUFFIXES if abs(value) >= pair[0]), _SUFFIXES[-1])
        return _minus(f"{value / size:.4g}") + suffix if abs(value) < 1e15 else _scientific(value, 2)
    if value and abs(value) < 1e-4:
        return _scientific(value, 2)
    return _minus(f"{value:.4g}")


def percent(share: float) -> str:
    """Return a share of one in percent, to two significant digits or to one decimal."""
    if not math.isfinite(share):
        return _not_finite(share)
    return _minus(f"{100 * share:.2g}" if 0 < abs(share) < 0.01 else f"{100 * share:.3g}") + " %"


def duration(seconds: float) -> str:
    """Return a time span in its two largest units."""
    if not math.isfinite(seconds):
        return _not_finite(seconds)
    if seconds < 59.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


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
        return [_scientific(tick, digits) if abs(tick) > 1e-9 * step else "0" for tick in spaced]
    if not decimals and len(set(plain)) == len(plain):
        return plain
    return [_minus(f"{tick:,.{decimals}f}") if abs(tick) > 1e-9 * step else "0" for tick in spaced]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return 1, 2 and 5 times powers of ten, or as many of them as fit, within ``[low, high]``, both above 0."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for leading in ((1, 2, 5), (1, 3), (1,)):
        found = [k * 10.0**n for n in range(first, last + 1) for k in leading if low <= k * 10.0**n <= high]
        if len(found) <= most:
            return found
    return found[:: math.ceil(len(found) / most)]


def _decimals(largest: float, digits: int) -> int:
    return max(0, digits - 1 - math.floor(math.log10(largest)))


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] if digit.isdigit() else "⁻" for digit in str(int(exponent)))
    return f"{_minus(mantissa)} {TIMES} 10{power}"


def _not_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else _minus("-∞" if value < 0 else "∞")


def _minus(text: str) -> str:
    return text.replace("-", _MINUS)
