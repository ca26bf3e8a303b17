"""Networks that a recipe needs trained before it starts: trained once by their own recipe, then found again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gancore.errors import GancoreError, listed
from gancore.plan import NetworkPlan, Plan
from gancore.recipe import TABLES, Recipe, check_table, merge, read_layer

Train = Callable[[Recipe, Path], None]
"""Trains a recipe into a folder."""


def cache_root() -> Path:
    """Return the folder for what can be made again: GANCORE_CACHE, or ``~/.cache/gancore``."""
    return Path(os.environ.get("GANCORE_CACHE") or "~/.cache/gancore").expanduser()


def training_recipe(plan: Plan, label: str, network: NetworkPlan) -> Recipe:
    """Return the recipe that trains a frozen network of a plan: its ``trained_by``, with the tables that it inherits.

    Raises:
        GancoreError: The recipe does not exist, trains no classifier, or a table to inherit does not exist.
    """
    name = network.keys.trained_by
    assert name is not None
    layer = read_layer(name, plan.registry)
    overrides: dict[str, Any] = {}
    for inherited in network.keys.inherits:
        if inherited not in TABLES:
            raise GancoreError(
                f"{network.part.where} can't inherit [{inherited}]: there is no such table (known: {listed(TABLES)})."
            )
        if inherited in plan.recipe.table:
            overrides[inherited] = plan.recipe.table[inherited]
    architecture = {"use": network.part.declared.full_name, **network.settings}
    table = merge(merge(layer.table, overrides), {"networks": {"classifier": architecture}})
    recipe = check_table(table, plan.registry, name=f"{name} (for networks.{label})", layers=layer.chain)
    if ("networks", "classifier") not in recipe.parts:
        raise GancoreError(f"{network.part.where}: {name} trains no classifier; choose another trained_by.")
    return recipe


def ensure(plan: Plan, train: Train, announce: Callable[[str], None]) -> dict[str, Path]:
    """Return the weights files of all networks that other recipes train, training those that are not there yet.

    Args:
        plan: The plan that needs them.
        train: Trains a recipe into a folder.
        announce: Told in one line what is trained.
    """
    found = {}
    for label, network in plan.networks.items():
        if network.keys.trained_by is None:
            continue
        recipe = training_recipe(plan, label, network)
        folder = cache_root() / "trained" / f"{network.keys.trained_by.replace('/', '-').removesuffix('.toml')}-{recipe.digest}"
        weights = folder / "weights" / "classifier.safetensors"
        if not weights.is_file():
            announce(f"networks.{label} has no weights yet: training them first by {network.keys.trained_by}, into {folder}")
            partial = folder.with_name(f"{folder.name}.{os.getpid()}.part")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                train(recipe, partial)
                if folder.exists() and not weights.is_file():
                    shutil.rmtree(folder)
                # Another process may have finished the same training meanwhile; either result is the same.
                if not folder.exists():
                    partial.replace(folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        found[label] = weights
    return found
