"""Schedules of learning rates and other numbers of a recipe: pure functions of the iteration."""

from __future__ import annotations

import math
from typing import Annotated

from gancore import Factor, Range


def constant() -> Factor:
    """Change nothing."""
    return lambda _iteration: 1.0


def linear(
    *, iterations: Annotated[int, Range(1)], start: Annotated[int, Range(0)] = 0, floor: Annotated[float, Range(0, 1)] = 0.0
) -> Factor:
    """Fall linearly from 1 (Miyato et al. 2018).

    Args:
        iterations: Where 0 would be reached; the length of the run unless set.
        start: Where the fall begins.
        floor: Least value.
    """
    span = max(1, iterations - start)
    return lambda iteration: min(1.0, max(floor, 1.0 - (iteration - start) / span))


def exponential(
    *,
    base: Annotated[float, Range(0, 1, open_low=True)] = 0.5,
    period: Annotated[float, Range(0, open_low=True)],
    start: Annotated[int, Range(0)] = 0,
) -> Factor:
    """Fall exponentially: ``base ** (iteration / period)`` (the annealing of Fast-RobGAN, arXiv:2008.03364, Eq. 4.1).

    Args:
        base: Value after a period.
        period: Iterations.
        start: Where the fall begins, from which on iterations count.
    """
    return lambda iteration: base ** (max(0, iteration - start) / period)


def cosine(*, iterations: Annotated[int, Range(1)], warmup: Annotated[int, Range(0)] = 0) -> Factor:
    """Rise linearly, then follow half a cosine to 0 (Loshchilov and Hutter 2017, Eq. 5, without restarts).

    Args:
        iterations: Where 0 is reached; the length of the run unless set.
        warmup: Iterations of the rise.
    """

    def factor(iteration: int) -> float:
        if iteration < warmup:
            return (iteration + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (iteration - warmup) / max(1, iterations - warmup))))

    return factor


def steps(
    *,
    at: list[Annotated[int, Range(0)]],
    factor: Annotated[float, Range(0)] = 0.1,
    warmup: Annotated[int, Range(0)] = 0,
) -> Factor:
    """Fall in steps, after a linear rise (the schedule of LDAM-DRW, Cao et al. 2019, Sec. 4).

    Args:
        at: Iterations from each of which on it is multiplied by `factor` once more.
        factor: What each step multiplies by.
        warmup: Iterations of the rise.
    """

    def value(iteration: int) -> float:
        if iteration < warmup:
            return (iteration + 1) / warmup
        return float(factor ** sum(iteration >= step for step in at))

    return value
