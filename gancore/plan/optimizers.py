"""Which numbers of an optimizer a schedule can change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
