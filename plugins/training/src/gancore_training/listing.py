"""``gancore recipes``: which recipes are installed, and what each needs. Imports no torch."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from gancore import GancoreError
from gancore.tools import Registry, did_you_mean, is_path, plain, registry, say, toml

NARROWEST, WIDEST = 40, 100
"""Columns that lines are set for."""

NEEDS = {"download": "downloads", "files": "your files:"}
"""Groups of data sets -> the word before their name in the list."""


@attrs.frozen
class Listed:
    """A recipe as the list shows it.

    Attributes:
        name: Its full name.
        summary: Its summary, or why it can't be read.
        fragment: Whether it has no data of its own, and so is there to be laid over others.
        helper: Whether other recipes have it trained first.
        needs: Data sets and networks of it that are downloaded or must be there, in words.
        cost: Iterations and images a batch; empty for a fragment.
    """

    name: str
    summary: str
    fragment: bool = False
    helper: bool = False
    needs: tuple[str, ...] = ()
    cost: str = ""

    @property
    def marks(self) -> str:
        """Everything but name and summary, in one line."""
        words = [*(["fragment"] if self.fragment else []), *(["helper"] if self.helper else []), self.cost, *self.needs]
        return ", ".join(word for word in words if word)

    def lines(self, width: int) -> Iterator[str]:
        """Yield its lines: name and marks, and below them the summary."""
        gap = width - len(self.name) - len(self.marks)
        yield f"{self.name}{' ' * gap}{self.marks}".rstrip() if gap > 1 else self.name
        if gap <= 1:
            yield from textwrap.wrap(self.marks, width, initial_indent="  ", subsequent_indent="  ")
        # The mark says so already.
        summary = self.summary.removeprefix("Fragment: ") if self.fragment else self.summary
        yield from textwrap.wrap(summary, width, initial_indent="  ", subsequent_indent="  ")


@click.command()
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--fragments", is_flag=True, help="Only fragments, which --with lays over a recipe.")
@click.option("--helpers/--no-helpers", default=None, help="Only recipes that others have trained first, or none of them.")
@click.option("--no-downloads", is_flag=True, help="Only recipes that need no files: nothing is downloaded, nothing read.")
def recipes(words: tuple[str, ...], fragments: bool, helpers: bool | None, no_downloads: bool) -> None:
    """List the installed recipes, or those with each WORD in name, summary or needs.

    Behind each name: whether it is a fragment (laid over a recipe by --with) or a helper (trained first for others); the cost
    as iterations x images a batch; and which data must be downloaded or given.
    """
    everything = list(listing(registry()))
    chosen = [
        one
        for one in everything
        if all(word.lower() in f"{one.name} {one.summary} {one.marks}".lower() for word in words)
        and (one.fragment or not fragments)
        and (helpers is None or one.helper == helpers)
        and not (no_downloads and (one.needs or one.fragment))
    ]
    if everything and not chosen:
        near = (
            did_you_mean(words[0], {word for one in everything for word in (one.name, *one.name.split("/"))}) if words else ""
        )
        raise GancoreError(f"no recipe has all of this{near}; `gancore recipes` lists all {len(everything)}.")
    width = min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    for one in chosen:
        for line in one.lines(width):
            say(line)


def listing(registry: Registry) -> Iterator[Listed]:
    """Yield all installed recipes by name, broken ones too."""
    tables = dict(sorted(_tables(registry).items()))
    helpers = {str(one["trained_by"]) for table in tables.values() if isinstance(table, dict) for one in _networks(table)}
    for name, table in tables.items():
        if not isinstance(table, dict):
            yield Listed(name, f"(broken: {table})")
            continue
        chain = list(_chain(name, tables))
        data, run = _value(chain, "data", "use"), [_value(chain, "run", key) for key in ("iterations", "batch_size")]
        cost = " x ".join(f"{number:,}" for number in run if isinstance(number, int)) if data else ""
        used = [("dataset", data), *(("network", _value(chain, "networks", label, "use")) for label in _labels(chain))]
        needs = dict.fromkeys(need for kind, use in used if (need := _need(registry, kind, use)))
        helper = bool(helpers & {name, name.partition("/")[2]})
        yield Listed(name, plain(str(table.get("summary", ""))), data is None, helper, tuple(needs), cost)


def _tables(registry: Registry) -> dict[str, dict[str, Any] | str]:
    """Return each installed recipe's own table, or why it can't be read; each file is read once."""
    tables: dict[str, dict[str, Any] | str] = {}
    for name, path in registry.recipes().items():
        try:
            tables[name] = toml.read(path)
        except GancoreError as error:
            tables[name] = str(error)
    return tables


def _networks(table: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a table's networks and heads that are trained by a recipe."""
    for group in (table.get("networks"), table.get("heads")):
        for one in group.values() if isinstance(group, dict) else ():
            if isinstance(one, dict) and "trained_by" in one:
                yield one


def _chain(name: str, tables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a recipe's table, and those of what it extends."""
    seen: set[str] = set()
    while name not in seen and isinstance(tables.get(name), dict):
        seen.add(name)
        yield tables[name]
        name = _full(str(tables[name].get("extends", "")), name.partition("/")[0], tables)


def _full(extended: str, plugin: str, names: Collection[str]) -> str:
    """Return the full name of what a recipe of a plugin extends: a full one, a bare one, or a file beside it."""
    if is_path(extended):
        return f"{plugin}/{Path(extended).stem}"
    return extended if extended in names else next((name for name in names if name.endswith(f"/{extended}")), "")


def _value(chain: list[dict[str, Any]], *path: str) -> Any:
    """Return the value at a path of keys in the first table that has it."""
    for table in chain:
        value: Any = table
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None


def _labels(chain: list[dict[str, Any]]) -> set[str]:
    groups = (table.get("networks") for table in chain)
    return {label for group in groups if isinstance(group, dict) for label in group}


def _need(registry: Registry, kind: str, use: object) -> str:
    """Return what a component needs that is not installed with it, in words; nothing where it is not known."""
    for declared in registry.components(kind) if use else ():
        if use in (declared.full_name, declared.name) and declared.group in NEEDS:
            return f"{NEEDS[declared.group]} {declared.name}"
    return ""
