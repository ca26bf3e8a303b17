"""Recipes as Python writes them: tables with classes among them, and values for ``set``, as a TOML file would say the same."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gancore import GancoreError
from gancore.tools import is_path, shown, toml

RecipeLike = str | os.PathLike[str] | Mapping[str, Any]
"""A recipe: its name, the path of its TOML file, or its table."""

Assignments = Mapping[str, Any] | Sequence[str]
"""Values by dotted keys, or ``KEY=VALUE`` texts as the command line has them."""

CLASS = "python"
"""A recipe names a class that was given from Python by ``python:`` and the class's name."""


def recipe_of(recipe: RecipeLike, classes: dict[str, Any]) -> str | dict[str, Any]:
    """Return a recipe as `gancore.tools.read` takes it.

    Args:
        recipe: The recipe.
        classes: Takes up the classes in it, by their names.

    Raises:
        GancoreError: It is no recipe, or holds a value that no recipe can.
    """
    if isinstance(recipe, Mapping):
        table: dict[str, Any] = _plain(recipe, "", classes)
        return table
    if isinstance(recipe, str):
        return recipe
    if isinstance(recipe, os.PathLike):
        text = os.fspath(recipe)
        return text if is_path(text) else f"./{text}"
    raise GancoreError(f"a recipe is a name, a path or a table, not {shown(recipe)}.")


def recipes_of(recipes: RecipeLike | Iterable[RecipeLike], classes: dict[str, Any]) -> list[str | dict[str, Any]]:
    """Return one or several recipes; as `recipe_of`."""
    several = [recipes] if isinstance(recipes, str | os.PathLike | Mapping) else recipes
    if not isinstance(several, Iterable):
        raise GancoreError(f"with_ takes recipes, not {shown(recipes)}.")
    return [recipe_of(each, classes) for each in several]


def assignments_of(values: Assignments, classes: dict[str, Any]) -> list[str]:
    """Return the ``KEY=VALUE`` texts that say the same as a table of values; as `recipe_of`."""
    if isinstance(values, Mapping):
        return [f"{key}={_toml(value)}" for key, value in _leaves(_plain(values, "", classes))]
    if isinstance(values, str) or not isinstance(values, Sequence) or not all(isinstance(text, str) for text in values):
        raise GancoreError(f'set takes a table, e.g. {{"run.seed": 1}}, or KEY=VALUE texts in a list, not {shown(values)}.')
    return list(values)


def _leaves(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    # First a `use`, which takes the place of whatever stood there; then what is said of it.
    for key, value in sorted(table.items(), key=lambda item: item[0] != "use"):
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _toml(value: Any) -> str:
    return toml.dumps({"value": value}).partition("=")[2].strip()


def _plain(value: Any, place: str, classes: dict[str, Any], depth: int = 0) -> Any:
    """Return a value of numbers, texts, lists and tables alone."""
    where = place or "the recipe"
    if depth > toml.DEEPEST:
        raise GancoreError(f"{where:.60} is nested deeper than {toml.DEEPEST} levels, as no recipe is.")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise GancoreError(f"{where} has the key {shown(key)}; the keys of a recipe are texts.")
        dotted = f"{place}." if place else ""
        return {key: _plain(item, f"{dotted}{key}", classes, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{number}]", classes, depth + 1) for number, item in enumerate(value)]
    if place.rpartition(".")[2] == "use" and callable(value):
        return take(value, classes, where)
    return _single(value, where)


def _single(value: Any, where: str) -> Any:
    value = value.item() if callable(getattr(value, "item", None)) and getattr(value, "ndim", None) == 0 else value
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if value is None:
        raise GancoreError(f"{where} is None, which no recipe can say; leave it out, or switch a table off by False.")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise GancoreError(f"{where} is a whole number of more than 64 bits, which no recipe can hold; take a smaller one.")
    if isinstance(value, type):
        raise GancoreError(f"{where} is the class {value.__name__}; a class stands behind a `use`, e.g. {where}.use.")
    if not isinstance(value, bool | int | float | str) or (isinstance(value, str) and not _is_text(value)):
        raise GancoreError(f"{where} is {shown(value)}, which no recipe can hold; it holds numbers, texts, lists and tables.")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def take(component: Any, classes: dict[str, Any], where: str) -> str:
    """Take up a class or function among `classes`, and return how a recipe names it.

    Raises:
        GancoreError: It has no name, or another one's.
    """
    name = getattr(component, "__name__", "")
    if not callable(component) or not name.isidentifier():
        raise GancoreError(f"{where} is {shown(component)}, which is no class or function with a name of its own.")
    if classes.setdefault(name, component) is not component:
        raise GancoreError(f"{where}: two classes are called {name}; rename one, for a run tells them apart by their names.")
    return f"{CLASS}:{name}"
