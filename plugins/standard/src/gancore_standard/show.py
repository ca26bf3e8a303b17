"""``gancore show``: a component with its settings, documentation and citation, a resolved recipe, or a table's keys."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
from gancore_training import aligned, complete_name

from gancore import GancoreError
from gancore.tools import CONTEXT, TABLES, Declared, did_you_mean, read_layer, registry, say, settings_of, toml
from gancore_standard.docstrings import fitted
from gancore_standard.table_keys import table_text, tables_text

_WITHOUT_SETTINGS = ("command", "accelerator", "executor", "image-format")
"""Kinds whose parameters no recipe sets."""


@click.command()
@click.argument("name", required=False, shell_complete=complete_name)
def show(name: str | None) -> None:
    """Show a component, a recipe, or a recipe's table, by its full or bare NAME.

    Of a component its settings, documentation and citation; of a recipe its tables, with what it extends; of a table (run,
    data, losses, ...) its keys, with defaults. Without a NAME, the tables of a recipe.
    """
    if name is None:
        return say("\n".join([*tables_text(), "", "Their keys: gancore show run, gancore show losses, and so on."]))
    components = [c for c in registry().components() if name in (c.full_name, c.name)]
    recipes = [recipe for recipe in registry().recipes() if name in (recipe, recipe.split("/")[1])]
    tables = [name] if name in TABLES else []
    if not components and not recipes and not tables:
        if not (name.endswith(".toml") and Path(name).is_file()):
            known = [*TABLES, *registry().recipes(), *(c.full_name for c in registry().components())]
            raise GancoreError(
                f"no component or recipe is called {name!r}{did_you_mean(name, known)}; "
                "see `gancore components` and `gancore recipes`."
            )
        recipes = [name]
    shown = [*map(_table, tables), *map(_component, components), *map(_recipe, recipes)]
    return say("\n\n".join(map("\n".join, shown)))


def _table(name: str) -> Iterator[str]:
    return table_text(name, _width())


def _width() -> int:
    """Return how wide lines are: as the terminal, but readable."""
    return min(max(shutil.get_terminal_size().columns, 40), 100)


def _component(component: Declared) -> Iterator[str]:
    yield f"{component.full_name}: {component.kind}"
    yield f"  {component.summary}"
    if component.cite:
        yield f"  cite: {component.cite}"
    yield from _wrapped(f"  from {component.target} of {component.distribution} {component.version}", _width())
    loaded = registry().load(component)
    rows = []
    for setting in settings_of(loaded).values() if component.kind not in _WITHOUT_SETTINGS else ():
        supplied = "given by gancore" if setting.name in CONTEXT else "required"
        default = supplied if setting.required else f"default {setting.default!r}"
        rows.append((setting.name, f"{setting.allowed} ({default})"))
    if rows:
        yield from ("", "  Settings")
        room = max(len(name) for name, _ in rows)
        for setting_name, text in rows:
            lines = _wrapped(text, max(20, _width() - room - 6))
            yield from aligned(
                [(setting_name.ljust(room), lines[0]), *(("".ljust(room), line) for line in lines[1:])], indent=4
            )
    documentation = None if component.kind == "command" else inspect.getdoc(loaded)
    if documentation:
        yield ""
        yield from (f"  {line}".rstrip() for line in fitted(documentation, _width() - 2))


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _recipe(name: str) -> Iterator[str]:
    layer = read_layer(name, registry())
    yield f"{name}: recipe" + (f", extends {' < '.join(layer.chain[:-1])}" if len(layer.chain) > 1 else "")
    yield ""
    yield toml.dumps(layer.table).rstrip()
