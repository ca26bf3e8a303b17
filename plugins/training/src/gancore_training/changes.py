"""What has changed since a run began: what decides its weights, which is refused, and what is told and kept in its record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gancore import GancoreError
from gancore.tools import Plan, Planned, settings_of
from gancore_training.identity import flat, identity

Changes = dict[str, tuple[Any, Any]]
"""What has changed -> what it was and what it is; None for what is not there."""

_MAY_CHANGE = re.compile(r"run\.iterations|ema\.decay|losses\.\w+\.weight|optimizers\.\w+\.(?!use$).+")
"""Keys of a recipe that a run may go on with when that is asked for: its state fits, and its weights become others."""

_WATCHED = ("gancore", "plugins", "torch", "python", "device", "threads", "processes", "precision")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Return what differs between two tables, by dotted keys."""
    one, two = flat(before), flat(now)
    return {key: (one.get(key), two.get(key)) for key in sorted({*one, *two}) if one.get(key) != two.get(key)}


def refuse_another(what: str, before: Mapping[str, Any], plan: Plan, *, changed: bool = False) -> None:
    """Refuse to go on with what another recipe, of the table `before`, has trained; `changed` takes over what may change.

    Raises:
        GancoreError: The two train different weights, other than by numbers that may change.
    """
    scored, readers = only_scored(plan), [each.where for each in parts_of(plan) if _reads_length(each)]
    differing = {
        key: values
        for key, values in differences(*map(_without_places, (identity(before), identity(plan.recipe.table)))).items()
        if not (key.startswith("networks.") and key.split(".")[1] in scored) and (key != "run.iterations" or readers)
    }
    fixed = {key: values for key, values in differing.items() if not _MAY_CHANGE.fullmatch(key)}
    if fixed or (differing and not changed):
        refused = fixed or differing
        shown = told(refused)
        if "run.iterations" in refused:
            shown += f" (it decides the weights, for {readers[0]} reads it)"
        remedy = "choose another --out" if fixed else "go on so, as a changed run, with --resume --changed"
        raise GancoreError(f"{what} was trained by another recipe, so it can't be resumed: {shown}; {remedy}.")


def _without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted keys in which code that no plugin has is named without the file or notebook where it lies."""
    return {
        key: value.rpartition(":")[2] if key.endswith(".use") and ":" in str(value) else value for key, value in values.items()
    }


def told(changes: Mapping[str, tuple[Any, Any]], most: int = 3) -> str:
    """Return changes in one line, the first few in full."""
    texts = [f"{key} was {_short(before)} and is {_short(now)}" for key, (before, now) in changes.items()]
    return ", ".join(texts[:most]) + (f", and {len(texts) - most} more" if len(texts) > most else "")


def _short(value: Any) -> str:
    text = "absent" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else f"{text[:18]}...{text[-18:]}"


def only_scored(plan: Plan) -> set[str]:
    """Return the labels of networks that metrics read, and nothing that takes part in the training."""
    scored = {label for metric in plan.metrics.values() for label in named(metric)}
    taking_part = {*plan.players, plan.stands_on}
    for each in parts_of(plan):
        taking_part |= {*named(each), *(need.label for needs in each.methods.values() for need in needs)}
    return set() if plan.loop.cls.reads_networks else scored & plan.networks.keys() - taking_part


def parts_of(plan: Plan) -> Iterator[Planned[Any, Any]]:
    """Yield the components that take part in the training."""
    for group in (plan.networks, plan.heads, plan.terms, plan.samplers, plan.optimizers, plan.schedules):
        yield from group.values()
    yield from (each for each in (plan.loop, plan.attack, plan.latent) if each is not None)


def named(planned: Planned[Any, Any]) -> set[str]:
    """Return the texts among a component's settings, which may be labels of networks."""
    values = [getattr(planned.cls, "network", None), *flat(planned.values).values()]
    lists = (value if isinstance(value, list | tuple) else [value] for value in values)
    return {text for several in lists for text in several if isinstance(text, str)}


def _reads_length(planned: Planned[Any, Any]) -> bool:
    return "iterations" in settings_of(planned.cls) and "iterations" not in planned.settings


def record(path: Path, now: dict[str, Any], recipe: Changes, iteration: int) -> str:
    """Put what has changed before a run goes on into the ``history`` of its record `now`, and return it in one line, if any.

    Raises:
        GancoreError: The record is damaged.
    """
    before = _read(path)
    watched = ({key: table[key] for key in _WATCHED if key in table and key in before} for table in (before, now))
    changed = {**differences(*watched), **recipe}
    entry = {"iteration": iteration, "changed": {key: list(values) for key, values in changed.items()}}
    history = [*before.get("history", []), *([entry] if changed else [])]
    if history:
        now["history"] = history
    return f"since iteration {iteration} {told(changed, 6)}" if changed else ""


def _read(path: Path) -> dict[str, Any]:
    try:
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if isinstance(before, dict) and isinstance(before.get("history", []), list):
            return before
    except (OSError, ValueError, RecursionError):
        pass
    raise GancoreError(f"{path} is damaged, so that what has changed can't be told; mend it, or delete it.")
