"""A plugin's recipes against the settings that its paper prints: a table with a row for each setting, and where it stands.

A row of the table, a TOML file beside the plugin's tests::

    [[setting]]
    recipes = ["cbgan/cifar10-*", "cbgan/lsun-*"]   # names, or patterns of them
    but = ["cbgan/*-classifier-*"]                  # of which some are not meant
    over = ""                                       # the recipe over which they are laid, if they are fragments
    key = "optimizers.generator.lr"
    value = 0.002                                   # as printed
    source = "Table 12"
    ours = 2e-4                                     # where the recipes depart from it,
    comment = "public code"                         # as one of their files says in a comment that holds these words

Every recipe of a plugin whose recipes the table names is in it. What has no setting of the paper stands apart, with a reason::

    [apart]
    "cbgan/*-small*" = "for two cores"
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from gancore import GancoreError
from gancore.tools import Recipe, read, registry, settings_of, toml

ABSENT = "absent"
"""Stands in a table for what a recipe must not have."""


@attrs.frozen(kw_only=True)
class Row:
    """One setting that a paper prints.

    Attributes:
        recipes: Names of the recipes that are to have it, or patterns of names.
        but: Names or patterns of those that `recipes` matches and that are not meant.
        over: Recipe over which they are laid, where they are fragments.
        key: Its place in a recipe, e.g. ``losses.balance.weight``; of a component itself ``losses.balance.use``.
        value: What the paper prints; ``absent`` where a recipe must not have it.
        source: Where the paper prints it.
        ours: What the recipes have instead, if they depart from it.
        comment: Words of the comment that says so, in one of the files of each recipe that departs.
    """

    recipes: tuple[str, ...] = attrs.field(converter=tuple)
    but: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    over: str = ""
    key: str
    value: Any
    source: str = attrs.field(validator=attrs.validators.min_len(1))
    ours: Any = None
    comment: str = ""

    def names(self) -> Iterator[str]:
        """Yield the names of the recipes, of which each pattern must match one."""
        installed = registry().recipes()
        for pattern in self.recipes:
            matches = [name for name in sorted(installed) if fnmatch.fnmatch(name, pattern)]
            assert matches, f"no recipe is called {pattern!r}"
            yield from (name for name in matches if not any(fnmatch.fnmatch(name, other) for other in self.but))


def paper_settings(table: Path) -> Callable[..., None]:
    """Return a test with a case for each setting and recipe of a table of a paper's settings.

    Args:
        table: The TOML file; see this module.

    Raises:
        GancoreError: It can't be read.
    """
    content = toml.read(table)
    rows = [Row(**row) for row in content["setting"]]
    cases = [
        pytest.param(partial(_check, row, name), id=f"{name}: {row.key} ({row.source})") for row in rows for name in row.names()
    ]
    cases.append(pytest.param(partial(_check_all_named, rows, content.get("apart", {})), id="every recipe is in the table"))

    @pytest.mark.parametrize("case", cases)
    def test(case: Callable[[], None]) -> None:
        case()

    return test


def _check_all_named(rows: Sequence[Row], apart: Mapping[str, str]) -> None:
    named = {name for row in rows for name in row.names()}
    plugins = {name.partition("/")[0] for name in named}
    rest = {name for name in registry().recipes() if name.partition("/")[0] in plugins} - named
    idle = [pattern for pattern in apart if not fnmatch.filter(rest, pattern)]
    assert not idle, f"what stands apart has settings of the paper, or is no recipe: {idle}"
    assert all(apart.values()), "what stands apart needs a reason"
    missing = sorted(name for name in rest if not any(fnmatch.fnmatch(name, pattern) for pattern in apart))
    assert not missing, f"no row names the recipes {missing}, and they do not stand apart"


def _check(row: Row, name: str) -> None:
    recipe = _resolved(name, row.over)
    expected = row.value if row.ours is None else row.ours
    value = setting(recipe, row.key)
    assert value == expected, f"{name}: {row.key} is {value!r}, and {row.source} has {row.value!r} (expected: {expected!r})"
    if row.ours is not None:
        assert row.comment, f"{row.key} departs from {row.source}, and the table names no words of the comment that says so"
        said = " ".join(comment for layer in recipe.layers for comment in comments(registry().recipe_path(layer)))
        assert row.comment in said, f"no comment in the files of {name} says {row.comment!r} of its {row.key}"


@cache
def _resolved(name: str, over: str) -> Recipe:
    return read(over or name, registry(), overlays=[name] if over else ())


def setting(recipe: Recipe, key: str) -> Any:
    """Return what a recipe has at a place, its default where the recipe leaves it out, or `ABSENT`."""
    group, *rest = key.split(".")
    tables: Mapping[str, Any] = {"run": recipe.run, "ema": recipe.ema, "evaluation": recipe.evaluation}
    if group in tables:
        return ABSENT if tables[group] is None else getattr(tables[group], rest[0])
    label = group if (group, group) in recipe.entries else rest.pop(0)
    if rest and rest[0] == "schedule":
        return _of_schedule(recipe, ".".join((group, label)), rest[1])
    entry = recipe.entries.get((group, label))
    return ABSENT if entry is None else _of_entry(entry, rest[0])


def _of_schedule(recipe: Recipe, place: str, name: str) -> Any:
    schedules = [schedule for where, schedule in recipe.schedules.items() if where.startswith(f"{place}.")]
    return _of_entry(schedules[0], name) if schedules else ABSENT


def _of_entry(entry: Any, name: str) -> Any:
    if name == "use":
        return entry.declared.full_name
    if name in entry.settings:
        return entry.settings[name]
    if entry.keys is not None and hasattr(entry.keys, name):
        return getattr(entry.keys, name)
    declared = settings_of(registry().load(entry.declared))
    if name not in declared:
        raise GancoreError(f"{entry.where} has no setting {name!r}.")
    default = declared[name].default
    return list(default) if isinstance(default, tuple) else default


def comments(path: Path) -> Iterator[str]:
    """Yield the lines of comment in a recipe's file, each without its ``#``."""
    lines = map(str.strip, path.read_text(encoding="utf-8").splitlines())
    yield from (line.lstrip("# ") for line in lines if line.startswith("#"))
