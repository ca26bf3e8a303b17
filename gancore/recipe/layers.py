"""Recipes as layers of TOML tables: what one extends, deep merge, assignments, conflicts. Needs no torch."""

from __future__ import annotations

import copy
import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from gancore.errors import GancoreError, did_you_mean, listed, shown
from gancore.files import as_path, toml
from gancore.recipe.tables import GROUPS, SINGLE, TABLES

if TYPE_CHECKING:
    from gancore.registry import Registry

TEXTS = ("summary", "cite", "extends")
"""Keys of a recipe beside its tables. A summary is of the file that has it alone; citations are of all that are layered."""

SWITCHES = (*GROUPS, "ema", "evaluation")
"""Tables that ``= false`` switches off."""


@attrs.frozen
class Layer:
    """One recipe file with what it extends merged in, and the names of all these, its own last."""

    table: dict[str, Any]
    chain: tuple[str, ...]


def read_layer(name: str | Mapping[str, Any], registry: Registry, *, _above: Mapping[Path, str] | None = None) -> Layer:
    """Read one recipe file and merge it over what it extends.

    Args:
        name: The name of an installed recipe, a path (it ends in ``.toml``, or begins with ``.``, ``/`` or ``~``), or a table.
        registry: The installed plugins.
    """
    if isinstance(name, str):
        path, written = as_path(name, "the recipe") if is_path(name) else registry.recipe_path(name), None
    else:  # what it extends may lie in the working folder
        path, written, name = Path("<table>"), dict(name), "the table"
    above = {**(_above or {}), path.resolve(): name}
    if len(above) == len(_above or {}) or len(above) > toml.DEEPEST:
        how = "extends itself" if len(above) <= toml.DEEPEST else "is the last of too many that extend each other"
        raise GancoreError(f"recipe {name} {how}, by way of {', '.join(above.values())}; remove one `extends`.")
    table = toml.read(path) if written is None else written
    check_tables(table, name)
    extended = table.pop("extends", None)
    if extended is None:
        return Layer(table, (name,))
    # A recipe beside this one may be named by its file.
    if is_path(extended):
        extended = str(path.parent / os.path.expanduser(extended))  # noqa: PTH111
    base = read_layer(extended, registry, _above=above)
    return Layer(laid(base.table, table), (*base.chain, name))


def is_path(name: str) -> bool:
    """Return whether a recipe is named by its file; any other name is an installed recipe's, whatever files lie around."""
    return name.endswith(".toml") or name.startswith((".", "/", "~"))


def check_tables(table: Mapping[str, Any], name: str) -> None:
    """Refuse tables that a recipe does not have, tables that are none, and texts that are none."""
    known = (*TABLES, *TEXTS)
    for key, value in table.items():
        if key not in known:
            near = did_you_mean(key, known)
            raise GancoreError(f"{name}: there is no table [{shown(key)[1:-1]}]{near} (known: {listed(known)}).")
        if key in TABLES and not isinstance(value, Mapping) and not (value is False and key in SWITCHES):
            what = "hold tables, one a component" if key in GROUPS else f"be a table{' with a `use`' if key in SINGLE else ''}"
            raise GancoreError(f"{name}: {key} must {what}, not {shown(value)}.")
        several = value if key == "cite" and isinstance(value, list) else [value]
        if key in TEXTS and not all(isinstance(text, str) for text in several):
            what = "the name of a recipe" if key == "extends" else "a text"
            raise GancoreError(f"{name}: {key} must be {what}, not {shown(value)}.")


def cited(table: Mapping[str, Any]) -> list[str]:
    """Return the papers that a recipe's table names."""
    cite = table.get("cite", [])
    return [cite] if isinstance(cite, str) else list(cite)


def laid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return one recipe's table merged over another's: its summary, or none, and the papers of both."""
    papers = list(dict.fromkeys([*cited(base), *cited(over)]))
    table = merge({key: value for key, value in base.items() if key != "summary"}, over)
    return {**table, "cite": papers} if papers else table


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `over` laid on `base`, table by table; a table that names another ``use`` replaces the one below."""
    result = dict(base)
    for key, value in over.items():
        below: Any = result.get(key)
        both = isinstance(value, Mapping) and isinstance(below, Mapping)
        replaced = both and "use" in value and "use" in below and not _same(value["use"], below["use"])
        result[key] = merge(below, value) if both and not replaced else copy.deepcopy(value)
    return result


def _same(one: Any, other: Any) -> bool:
    """Return whether two names are of one component: one may leave out the plugin."""
    bare = isinstance(one, str) and isinstance(other, str) and ("/" not in one or "/" not in other)
    return bool(one == other or (bare and one.rpartition("/")[2] == other.rpartition("/")[2]))


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
        if not equals or not all(words) or len(words) > toml.DEEPEST:
            raise GancoreError(f"{where} {shown(text)} is not of the form KEY=VALUE, e.g. losses.balance.weight=5.")
        try:
            nested: Any = toml.value(value.strip())
        except ValueError as error:
            raise GancoreError(f"{where} {shown(text)} can't be read: {error}; write another value.") from error
        for word in reversed(words):
            nested = {word: nested}
        table = merge(table, nested)
    return dict(table)


def leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values of nested tables, each behind the keys that lead to it."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _without(table: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    rest = _without(table[path[0]], path[1:]) if path[1:] else {}
    return {**{key: value for key, value in table.items() if key != path[0]}, **({path[0]: rest} if rest else {})}


def settled(layers: Sequence[Layer], assignments: Iterable[str]) -> list[dict[str, Any]]:
    """Return the tables of layers whose conflicts are decided: those that choose another component say nothing of it.

    Raises:
        GancoreError: No assignment decides between two overlays that set one key differently, or two recipes of any rank that
            set another loop.
    """
    decided = dict(leaves(assigned({}, assignments)))
    tables = [{key: value for key, value in layer.table.items() if key not in TEXTS} for layer in layers]
    for path, chosen in decided.items():
        uses = [dict(leaves(table)).get(path) if path[-1] == "use" else None for table in tables]
        if len({str(use) for use in uses[path != ("loop", "use") :] if use is not None}) > 1:
            others = [use is not None and not _same(use, chosen) for use in uses]
            tables = [_without(table, path[:-1]) if other else table for table, other in zip(tables, others, strict=True)]
    claims: dict[tuple[str, ...], tuple[str, Any]] = {}
    for rank, (layer, table) in enumerate(zip(layers, tables, strict=True)):
        name = layer.chain[-1]
        for path, value in leaves(table):
            if (rank == 0 and path != ("loop", "use")) or any(path[:end] in decided for end in range(1, len(path) + 1)):
                continue
            other, claimed = claims.setdefault(path, (name, value))
            if not (_same(claimed, value) if path[-1] == "use" else claimed == value):
                key = ".".join(path)
                bare = isinstance(claimed, str) and toml.value(claimed) == claimed
                assignment = shlex.quote(f"{key}={claimed if bare else json.dumps(claimed)}")
                raise GancoreError(
                    f"{other} and {name} can't be combined: they set {key} to {shown(claimed)} and {shown(value)}; say which, "
                    f"e.g. by --set {assignment}."
                )
    texts = [{key: layer.table[key] for key in TEXTS if key in layer.table} for layer in layers]
    return [{**text, **table} for text, table in zip(texts, tables, strict=True)]
