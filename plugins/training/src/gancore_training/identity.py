"""What makes two recipes train the same weights, and what only says where things lie or what is written. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from gancore.tools import DEFAULTS, TEXTS, Recipe, RunSettings, leaves
from gancore_training.contents import digest_of

UNDECIDING = (
    *("metrics", "evaluation", "run.accelerate", "run.workers", "run.observers", "run.precision", "run.log_every"),
    *("run.sample_every", "run.checkpoint_every", "run.evaluate_every", "run.keep_checkpoints", "run.keep_best"),
)
"""Tables and keys that decide no weights: what is measured and written, and how it is computed."""

ORIGIN = ("weights", "trained_by", "trained_with", "inherits")
"""Keys of networks and heads that say where their weights come from."""


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of nested tables by their dotted keys, e.g. ``optimizers.generator.lr``."""
    return {".".join(path): value for path, value in leaves(table)}


def identity(table: Mapping[str, Any], *, places: bool = False) -> dict[str, Any]:
    """Return what decides the weights that a recipe trains, by dotted keys.

    That is all of its table but texts, what is written and measured when, and where and how it is computed.

    Args:
        table: Its table.
        places: Tell where data and weights lie and come from too, which count by their content, and no table holds that.
    """
    defaults = {f"run.{key}": value for key, value in attrs.asdict(RunSettings()).items()}
    samplers = table.get("samplers")
    order = {"samplers": list(samplers)} if samplers and isinstance(samplers, Mapping) else {}
    values = {**defaults, **flat(table), **order}.items()
    return {key: value for key, value in values if _decides(key, value) and (places or not _is_place(key, value))}


def recipe_digest(recipe: Recipe) -> str:
    """Return twelve characters that change when what decides a recipe's weights does, or where its data and weights lie."""
    return digest_of(identity(recipe.table, places=True))


def _decides(key: str, value: Any) -> bool:
    group, *names = key.split(".")
    if group == "optimizers" and names[1:] == ["use"]:
        return bool(value != DEFAULTS[group])  # the same as no table
    return group not in (*TEXTS, *UNDECIDING) and key not in UNDECIDING


def _is_place(key: str, value: Any) -> bool:
    """Return whether a key of a recipe says where data lie, or where weights come from."""
    group, *names = key.split(".")
    if group in ("data", "sources"):
        return isinstance(value, str) and names[-1] != "use"
    return group in ("networks", "heads") and names[1:2] != [] and names[1] in ORIGIN
