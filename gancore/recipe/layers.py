"""Recipes as layers of TOML tables: what one extends, deep merge, assignments, conflicts. Needs no torch."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from gancore.errors import GancoreError, did_you_mean, listed
from gancore.files import toml
from gancore.recipe.tables import TABLES

if TYPE_CHECKING:
    from gancore.recipe.installed import Registry

TEXTS = ("summary", "cite", "extends")


@attrs.frozen
class Layer:
    """One recipe file with what it extends merged in, and the names of all these, its own last."""

    table: dict[str, Any]
    chain: tuple[str, ...]


def read_layer(name: str, registry: Registry, *, _seen: tuple[str, ...] = ()) -> Layer:
    """Read one recipe file and merge it over what it extends."""
    path = Path(name)
    if not (path.suffix == ".toml" or path.is_file()):
        path = registry.recipe_path(name)
    if name in _seen:
        raise GancoreError(f"recipe {name} extends itself: {' -> '.join((*_seen, name))}; remove one `extends`.")
    table = toml.read(path)
    check_tables(table, name)
    extended = table.pop("extends", None)
    if extended is None:
        return Layer(table, (name,))
    if not isinstance(extended, str):
        raise GancoreError(f"{name}: extends must be the name of a recipe, not {extended!r}.")
    # A recipe beside this one may be named by its file.
    if extended.endswith(".toml") and not Path(extended).is_absolute():
        extended = str(path.parent / extended)
    base = read_layer(extended, registry, _seen=(*_seen, name))
    return Layer(merge(base.table, table), (*base.chain, name))


def check_tables(table: Mapping[str, Any], name: str) -> None:
    """Refuse tables that a recipe does not have."""
    known = (*TABLES, *TEXTS)
    for key in table:
        if key not in known:
            raise GancoreError(f"{name}: there is no table [{key}]{did_you_mean(key, known)} (known: {listed(known)}).")


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `over` laid on `base`, table by table; a table that names another ``use`` replaces the one below."""
    result = dict(base)
    for key, value in over.items():
        below: Any = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        replaced = both and "use" in value and "use" in below and value["use"] != below["use"]
        result[key] = merge(below, value) if both and not replaced else copy.deepcopy(value)
    return result


def assigned(table: Mapping[str, Any], assignments: Iterable[str], where: str = "--set") -> dict[str, Any]:
    """Return a table with ``KEY=VALUE`` texts laid on it in turn; a key may have dots, a value is TOML, or plain text.

    Args:
        table: The table.
        assignments: The texts.
        where: Names the place for errors.

    Raises:
        GancoreError: A text is not of that form.
    """
    for text in assignments:
        key, equals, value = text.partition("=")
        words = [word.strip() for word in key.split(".")]
        if not equals or not all(words):
            raise GancoreError(f"{where} {text!r} is not of the form KEY=VALUE, e.g. losses.balance.weight=5.")
        nested: Any = toml.value(value.strip())
        for word in reversed(words):
            nested = {word: nested}
        table = merge(table, nested)
    return dict(table)


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def refuse_conflicts(layers: Sequence[Layer]) -> None:
    """Refuse two overlays that set one key differently, and two recipes of any rank that set another loop."""
    claims: dict[tuple[str, ...], tuple[str, Any]] = {}
    for rank, layer in enumerate(layers):
        name = layer.chain[-1]
        for path, value in _leaves({k: v for k, v in layer.table.items() if k not in TEXTS}):
            if rank == 0 and path != ("loop", "use"):
                continue
            other, claimed = claims.setdefault(path, (name, value))
            if claimed != value:
                key = ".".join(path)
                raise GancoreError(f"{other} and {name} can't be combined: they set {key} to {claimed!r} and {value!r}.")
