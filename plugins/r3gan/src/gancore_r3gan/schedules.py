"""Schedules of R3GAN's burn-in, in which every number goes along half a cosine from one value to another."""

from __future__ import annotations

import math
from typing import Annotated

import gancore


def burn_in(*, iterations: Annotated[int, gancore.Range(1)], final: Annotated[float, gancore.Range(0)] = 0.1) -> gancore.Factor:
    """Go along half a cosine from 1 to another value, and stay there (R3GAN, arXiv:2501.05441, appendix).

    Args:
        iterations: Where it ends; the length of the run unless set.
        final: What is reached, e.g. 0.25 for a rate that falls to a quarter, or 1.1 for a beta that rises from 0.9 to 0.99.
    """
    return lambda iteration: 1 + (final - 1) * _progress(iteration, iterations)


def half_life(
    *, iterations: Annotated[int, gancore.Range(1)], half_life: Annotated[float, gancore.Range(0, open_low=True)]
) -> gancore.Factor:
    """Let the half-life of a moving average grow along half a cosine from 0, for the decay in ``[ema]``.

    The decay that this multiplies must be that of the end, ``0.5 ** (1 / half_life)``.

    Args:
        iterations: Where the growth ends; the length of the run unless set.
        half_life: That of the end, in iterations.
    """

    def factor(iteration: int) -> float:
        progress = _progress(iteration, iterations)
        return float(0.5 ** ((1 / progress - 1) / half_life)) if progress else 0.0

    return factor


def _progress(iteration: int, iterations: int) -> float:
    return 0.5 * (1 - math.cos(math.pi * min(1.0, iteration / iterations)))
