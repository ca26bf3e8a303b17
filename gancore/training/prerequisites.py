"""Networks that a recipe needs trained before it starts: trained once by their own recipe, then looked up."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from gancore.contract import Discriminator, Generator, Sampler
from gancore.errors import GancoreError, listed
from gancore.files import cache_root
from gancore.parallel import distributed
from gancore.plan import DISCRIMINATOR, GENERATOR, Plan, Planned
from gancore.recipe import TABLES, Recipe, assigned, check_table, merge, read_layer

Train = Callable[[Recipe, Path], None]
"""Trains a recipe into a folder."""


@attrs.frozen
class Wanted:
    """Weights that another recipe trains.

    Attributes:
        label: The place in the recipe of what needs them, e.g. ``networks.classifier``.
        planned: What needs them.
        file: Name of its weights file in a run of the other recipe.
    """

    label: str
    planned: Planned[Any, Any]
    file: str


def wanted(plan: Plan) -> list[Wanted]:
    """Return everything in a plan that has a ``trained_by``, and no weights of its own."""
    roles = {GENERATOR: Generator, DISCRIMINATOR: Discriminator}
    files = [
        Wanted(f"networks.{label}", network, f"{_role(network.cls, roles)}.safetensors")
        for label, network in plan.networks.items()
    ]
    files += [Wanted(f"heads.{label}", head, f"heads.{label}.safetensors") for label, head in plan.heads.items()]
    return [each for each in files if each.planned.keys.trained_by is not None and not each.planned.keys.weights]


def _role(cls: type, roles: Mapping[str, type]) -> str:
    return next((name for name, kind in roles.items() if issubclass(cls, kind)), "classifier")


def training_recipe(plan: Plan, weights: Wanted) -> Recipe:
    """Return the recipe that trains what a plan needs: its ``trained_by``, with the tables that it inherits.

    A classifier is trained with the settings that it has in the plan; a generator, a discriminator and a head with those that
    the other recipe gives them, so that one run trains them all.

    Raises:
        GancoreError: The recipe does not exist, trains no such network, or a table to inherit does not exist.
    """
    planned, name = weights.planned, weights.planned.keys.trained_by
    where = planned.where
    assert name is not None
    layer = read_layer(name, plan.registry)
    table = layer.table
    for inherited in planned.keys.inherits:
        if inherited not in TABLES:
            raise GancoreError(f"{where} can't inherit [{inherited}]: there is no such table (known: {listed(TABLES)}).")
        if inherited in plan.recipe.table:
            own = plan.recipe.table[inherited]
            table = merge(table, {inherited: _selecting(plan, own) if inherited == "samplers" else own})
    table = assigned(table, planned.keys.trained_with, f"{where}: trained_with")
    role = weights.file.removesuffix(".safetensors")
    if role == "classifier":
        table = merge(table, {"networks": {role: {"use": planned.full_name, **planned.settings}}})
    recipe = check_table(table, plan.registry, name=f"{name} (for {weights.label})", layers=layer.chain)
    group, _, label = role.rpartition(".")
    if (group or "networks", label) not in recipe.entries:
        what = f"head {label!r}" if group else label
        raise GancoreError(f"{where}: {name} trains no {what}; choose another trained_by.")
    return recipe


def _selecting(plan: Plan, samplers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the samplers that say which of the data take part.

    What another sampler does to a drawn batch (noise, joined images) is a part of the game, and may draw from sources that only
    the game has; the data are what remains for a network that is trained beforehand.
    """
    return {
        label: table
        for label, table in samplers.items()
        if label in plan.samplers
        and plan.samplers[label].keys.of is None
        and (plan.samplers[label].cls.select is not Sampler.select or plan.samplers[label].cls.weights is not Sampler.weights)
    }


def ensure(plan: Plan, train: Train, announce: Callable[[str], None]) -> dict[str, Path]:
    """Return the weights files of everything that other recipes train, training those that are not there yet.

    Args:
        plan: The plan that needs them.
        train: Trains a recipe into a folder.
        announce: Told in one line what is trained.

    Returns:
        Path of the weights by place in the recipe, e.g. ``networks.classifier``.
    """
    paths = {}
    for each in wanted(plan):
        name = each.planned.keys.trained_by
        assert name is not None
        recipe = training_recipe(plan, each)
        folder = cache_root() / "trained" / f"{name.replace('/', '-').removesuffix('.toml')}-{recipe.digest}"
        weights = folder / "weights" / each.file
        # All processes train together, so they must not each look for themselves whether that is needed.
        if not distributed.on_rank_zero(weights.is_file):
            announce(f"{each.label} has no weights yet: training them first by {name}, into {folder}")
            started = folder.with_name(f"{folder.name}.{distributed.agree(os.getpid())}.part")
            _discard(started)
            try:
                train(recipe, started)
                distributed.on_rank_zero(partial(_keep, folder, weights, started))
            finally:
                _discard(started)
        paths[each.label] = weights
    return paths


def _discard(folder: Path) -> None:
    if distributed.rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(folder: Path, weights: Path, started: Path) -> None:
    """Put a finished training in its place."""
    if folder.exists() and not weights.is_file():
        shutil.rmtree(folder)
    # Another run may have finished the same training meanwhile; either result is the same.
    if not folder.exists():
        started.replace(folder)
