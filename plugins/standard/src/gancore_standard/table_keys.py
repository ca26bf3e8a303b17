"""The tables of a recipe with their keys, as ``gancore show`` and the documentation give them. Imports no torch."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

import attrs
from gancore_training import aligned

from gancore.tools import (
    DEFAULTS,
    GROUPS,
    KEYS,
    SCHEDULED,
    SINGLE,
    TABLES,
    Average,
    Evaluation,
    RunSettings,
    settings_of,
    toml,
)

CORE: dict[str, type] = {"run": RunSettings, "ema": Average, "evaluation": Evaluation}
"""Tables all of whose keys core handles."""

MOST_EXAMPLES = 4
"""Components that are named as examples."""


@attrs.frozen
class Key:
    """A key of a table.

    Attributes:
        name: The key.
        allowed: Its values, in words.
        default: Its default as TOML has it, or in words.
        meaning: What it does.
    """

    name: str
    allowed: str
    default: str
    meaning: str


def keys_of(table: str) -> list[Key]:
    """Return the keys of a recipe's table that do not depend on a component."""
    kind = {**SINGLE, **GROUPS}.get(table)
    keys = []
    if kind is not None:
        default = DEFAULTS.get(table, "none")
        keys.append(Key("use", "the name of a component", default, f"The {kind}; see `gancore components {kind}`."))
    cls = CORE.get(table) or KEYS.get(table)
    if cls is not None:
        meanings, defaults = _meanings(cls), cls()
        for setting in settings_of(cls).values():
            default = getattr(defaults, setting.name)
            keys.append(Key(setting.name, setting.allowed, _value(default), meanings[setting.name]))
    if number := SCHEDULED.get(table):
        keys.append(Key("schedule", "a table with a `use`", "none", f"Changes `{number}`; see `gancore components schedule`."))
    if table == "ema":
        keys.append(Key("schedule", "a table with a `use`", "none", "Changes `decay`; see `gancore components schedule`."))
    if table == "optimizers":
        keys.append(Key("schedules", "tables with a `use`, by setting", "none", "Changes other settings, e.g. `betas`."))
    return keys


def table_text(table: str, width: int) -> Iterator[str]:
    """Yield the lines that show a table of a recipe, none longer than a width."""
    place = f"[{table}.LABEL]" if table in GROUPS else f"[{table}]"
    yield f"{place}: a table of a recipe"
    yield from textwrap.wrap(about(table), width, initial_indent="  ", subsequent_indent="  ")
    for key in keys_of(table):
        yield ""
        text = f"{key.name}: {key.allowed}  (default {key.default})"
        yield from textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
        yield from textwrap.wrap(key.meaning, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def tables_text() -> Iterator[str]:
    """Yield a line for each table of a recipe."""
    yield from aligned((f"[{table}]", about(table).split(". ")[0].rstrip(".")) for table in TABLES)


def about(table: str) -> str:
    """Return what a table is, in a sentence or two."""
    if table in CORE:
        first = (inspect.getdoc(CORE[table]) or "").split("\n\n")[0].partition("table")[2].strip(" :.")
        return f"{(first or 'how long, and with what, the recipe is trained').capitalize()}."
    kind = {**SINGLE, **GROUPS}[table]
    which = f"The recipe's {kind}" if table in SINGLE else f"Each {kind} of the recipe, by a label of your own"
    more = f" `{table}.LABEL = false` switches one off." if table in GROUPS else ""
    return f"{which}.{more} Beside these keys it has the settings of its component: `gancore show NAME`."


def _meanings(cls: type) -> dict[str, str]:
    """Return what the docstring of settings, and of those they extend, says of each."""
    meanings: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        text = (inspect.getdoc(one) or "").partition("Attributes:\n")[2]
        for name, meaning in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
            meanings[name] = " ".join(meaning.split()).replace("``", "`")
    return meanings


def _value(value: object) -> str:
    if value is None:
        return "none"
    return toml.dumps({"_": value}).partition("=")[2].strip() if value != {} else "{}"
