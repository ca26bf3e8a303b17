"""Which optimizers a turn can use, and which of their numbers a schedule can change."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gancore.errors import did_you_mean, listed
from gancore.plan.plan import Planned


def scheduled_numbers(settings: Mapping[str, Any]) -> dict[str, tuple[str, int | None]]:
    """Return which numbers of an optimizer's settings, or of a group of its parameters, a schedule can change.

    Those of a pair are named after it, with their place: ``beta1`` and ``beta2`` are those of ``betas``. A schedule multiplies,
    so what is 0 has none.

    Returns:
        Name -> key and, of a pair, place in it.
    """
    numbers: dict[str, tuple[str, int | None]] = {}
    for key, value in settings.items():
        places = enumerate(value) if isinstance(value, tuple | list) else [(None, value)]
        for place, number in places:
            if isinstance(number, float) and number:
                numbers[key if place is None else f"{key.removesuffix('s')}{place + 1}"] = (key, place)
    return numbers


def unusable(optimizer: Planned[Any, None], scheduled: Iterable[str]) -> Iterator[str]:
    """Yield why one backward a turn can't feed an optimizer, and which schedules are of a number that it does not have."""
    step = getattr(optimizer.cls, "step", None)
    closure = None if step is None else inspect.signature(step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        yield (
            f"{optimizer.where} computes the loss several times in a step (a closure), and a turn computes it once; "
            "choose another."
        )
    if optimizer.full_name == "torch/SparseAdam":
        yield f"{optimizer.where} takes sparse gradients alone, and gancore's are dense; choose another, e.g. torch/Adam."
    numbers = scheduled_numbers(optimizer.values)
    for name in scheduled:
        if name not in numbers:
            yield (
                f"{optimizer.where} has no number {name!r} that a schedule could multiply{did_you_mean(name, numbers)} "
                f"(those that are not 0: {listed(numbers)})."
            )
