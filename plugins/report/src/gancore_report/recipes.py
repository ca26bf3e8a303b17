"""The section on recipes: what differs between runs, and each recipe in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from gancore_report.parts import NOTHING, Shown, details, table


def recipes_section(runs: Sequence[Shown]) -> str:
    """Return the differences between the recipes and the recipes; empty where none can be read."""
    html = ""
    readable = [run for run in runs if run.data.recipe]
    if len(readable) > 1:
        rows = _differences(readable)
        if rows:
            html += f"<h3>What differs</h3>{table(readable, rows)}"
        else:
            html += "<p>The recipes are the same.</p>"
    for run in runs:
        if run.data.recipe_text.strip():
            html += details(f"Recipe of {run.title}", f"<pre>{escape(run.data.recipe_text)}</pre>")
    return html


def _differences(runs: Sequence[Shown]) -> list[tuple[str, list[str]]]:
    flat = [dict(_flat(run.data.recipe)) for run in runs]
    keys = dict.fromkeys(key for settings in flat for key in settings)
    # Tables side by side, as in a recipe.
    ordered = sorted(keys, key=lambda key: ("." in key, key.split(".")))
    return [
        (f"<code>{escape(key)}</code>", [f"<code>{escape(settings.get(key, NOTHING))}</code>" for settings in flat])
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
