"""The section on recipes: what differs between runs, and each recipe in full."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gancore_report.reading import RunData
from gancore_report.rendering import render
from gancore_report.shown import Shown


def recipes_section(runs: Sequence[Shown]) -> Markup:
    """Return the differences between the recipes and the recipes; empty where none can be read."""
    readable = [run for run in runs if run.data.recipe]
    written = [run for run in runs if run.data.recipe_text.strip()]
    return render("recipes", runs=readable, rows=_differences(readable), written=written) if written else Markup()


def outline(runs: Sequence[RunData]) -> list[tuple[str, list[str]]]:
    """Return the differences between runs' recipes as few lines: a part that a recipe does not have is one line.

    What only tells about a recipe, its summary and citation, is left out, and so is the seed: runs that differ in it alone
    are no different recipes.
    """
    parts = [_parts(run.recipe) for run in runs if run.recipe]
    if len(parts) < len(runs):
        return []
    lines: list[tuple[str, list[str]]] = []
    for name in dict.fromkeys(name for own in parts for name in own):
        tables = [own.get(name) for own in parts]
        present = [table for table in tables if table is not None]
        if all(table == present[0] for table in present) and len(present) == len(tables):
            continue
        if len(present) < len(tables) or any(table.get("use") != present[0].get("use") for table in present):
            lines.append((name, [_in_short(table) for table in tables]))
        else:
            keys = dict.fromkeys(key for table in present for key in table)
            differing = [key for key in keys if len({table.get(key) for table in present}) > 1]
            lines += [(f"{name}.{key}" if name else key, [table.get(key, "") for table in present]) for key in differing]
    return lines


def _parts(recipe: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return a recipe's tables by their names, ``losses.balance``, each flat; keys of no table stand under no name."""
    parts: dict[str, dict[str, str]] = {}
    for group, table in recipe.items():
        if group in ("summary", "cite", "name", "extends"):
            continue
        if not isinstance(table, dict):
            parts.setdefault("", {})[group] = json.dumps(table, default=str, ensure_ascii=False)
        elif table and all(isinstance(own, dict) for own in table.values()):
            parts |= {f"{group}.{label}": dict(_flat(own)) for label, own in table.items()}
        else:
            settings = {key: value for key, value in table.items() if (group, key) != ("run", "seed")}
            parts[group] = dict(_flat(settings))
    return parts


def _in_short(table: Mapping[str, str] | None) -> str:
    """Return a part as its name and settings, or nothing where a recipe has none."""
    if table is None:
        return ""
    settings = [f"{key} {value}" for key, value in table.items() if key != "use"]
    return ", ".join([*([table["use"]] if "use" in table else []), *settings]) or "yes"


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
