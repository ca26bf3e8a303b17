"""Learning-rate schedules: pure functions of the iteration, so that nothing need be saved."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated

from gancore.contract import Range

Factor = Callable[[int], float]
"""Maps an iteration, from 0, to what the learning rate is multiplied by."""


def constant() -> Factor:
    """Keep the learning rate."""
    return lambda _iteration: 1.0


def linear(
    *, iterations: Annotated[int, Range(1)], start: Annotated[int, Range(0)] = 0, floor: Annotated[float, Range(0, 1)] = 0.0
) -> Factor:
    """Fall linearly from 1 at `start` towards 0 at the end of the run (Miyato et al. 2018), but not below `floor`."""
    span = max(1, iterations - start)
    return lambda iteration: min(1.0, max(floor, 1.0 - (iteration - start) / span))


def exponential(
    *, base: Annotated[float, Range(0, 1, open_low=True)] = 0.5, period: Annotated[float, Range(0, open_low=True)]
) -> Factor:
    """Multiply by ``base ** (iteration / period)`` (Fast-RobGAN, Eq. 4.1)."""
    return lambda iteration: base ** (iteration / period)


def cosine(*, iterations: Annotated[int, Range(1)], warmup: Annotated[int, Range(0)] = 0) -> Factor:
    """Rise linearly over `warmup` iterations, then follow half a cosine to 0."""

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
    """Multiply by `factor` from each iteration of `at` on, after a linear rise over `warmup` iterations (LDAM-DRW)."""

    def value(iteration: int) -> float:
        if iteration < warmup:
            return (iteration + 1) / warmup
        return float(factor ** sum(iteration >= step for step in at))

    return value


SCHEDULES: dict[str, Callable[..., Factor]] = {
    "constant": constant,
    "linear": linear,
    "exponential": exponential,
    "cosine": cosine,
    "steps": steps,
}
