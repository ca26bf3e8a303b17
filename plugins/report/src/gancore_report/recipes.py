"""The section on recipes: what differs between runs, and each recipe in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gancore_report.rendering import render
from gancore_report.shown import Shown


def recipes_section(runs: Sequence[Shown]) -> Markup:
    """Return the differences between the recipes and the recipes; empty where none can be read."""
    readable = [run for run in runs if run.data.recipe]
    written = [run for run in runs if run.data.recipe_text.strip()]
    return render("recipes", runs=readable, rows=_differences(readable), written=written) if written else Markup()


def _differences(runs: Sequence[Shown]) -> list[tuple[str, list[str]]]:
    flat = [dict(_flat(run.data.recipe)) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    # Tables side by side, as in a recipe.
    ordered = sorted(keys, key=lambda key: ("." in key, key.split(".")))
    return [
        (key, [settings.get(key, "") for settings in flat])
        for key in ordered
        if len({settings.get(key) for settings in flat}) > 1
    ]


def _flat(tables: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tables.items():
        place = f"{path}.{key}" if path else key
        if isinstance(value, dict) and value:
            yield from _flat(value, place)
        else:
            yield place, value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
