"""Networks that a recipe needs trained before it starts: trained once by their own recipe, then looked up."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from gancore import Discriminator, GancoreError, Generator, Sampler
from gancore.tools import (
    DISCRIMINATOR,
    GENERATOR,
    TABLES,
    Augmentation,
    Plan,
    Planned,
    Recipe,
    Registry,
    as_path,
    assigned,
    cache_root,
    check_table,
    digest,
    distributed,
    listed,
    load_split,
    make_plan,
    merge,
    read_layer,
    writing,
)
from gancore_training.contents import LOOKED_AT, content_of, digest_of
from gancore_training.identity import identity, recipe_digest
from gancore_training.local_code import local_versions
from gancore_training.lock import InUse
from gancore_training.progress import duration

LOOK_EVERY = 1.0
"""Seconds after which a training that waits for another one looks whether that has ended."""


def _placed(plan: Plan) -> dict[str, Planned[Any, Any]]:
    """Return a plan's networks and heads by their places in the recipe."""
    return {f"{group}.{label}": each for group in ("networks", "heads") for label, each in getattr(plan, group).items()}


def wanted(plan: Plan) -> dict[str, Planned[Any, Any]]:
    """Return what a plan wants trained by other recipes, by its place in the recipe, e.g. ``networks.classifier``.

    That is everything that has a ``trained_by``, and no weights of its own.
    """
    placed = _placed(plan).items()
    return {place: each for place, each in placed if each.keys.trained_by is not None and not each.keys.weights}


def _place_there(place: str, planned: Planned[Any, Any]) -> str:
    """Return the place of what the other recipe trains: a head has the same label there, a network that of its role."""
    if place.startswith("heads."):
        return place
    roles = {GENERATOR: Generator, DISCRIMINATOR: Discriminator}
    return f"networks.{next((role for role, kind in roles.items() if issubclass(planned.cls, kind)), 'classifier')}"


def training_recipe(plan: Plan, place: str) -> Recipe:
    """Return the recipe that trains what a plan wants at a place: its ``trained_by``, with the tables that it inherits.

    A classifier is trained with the settings that it has in the plan; a generator, a discriminator and a head with those that
    the other recipe gives them, so that one run trains them all. An inherited table takes the place of the other recipe's, also
    where it is empty or absent. How images are augmented is a part of each training, and never inherited.

    Raises:
        GancoreError: The recipe does not exist, trains no such network, or a table to inherit does not exist.
    """
    planned = wanted(plan)[place]
    name, where = planned.keys.trained_by, planned.where
    layer = read_layer(name, plan.registry)
    # A summary speaks of the file's own data.
    table = {key: value for key, value in layer.table.items() if key != "summary"}
    for inherited in planned.keys.inherits:
        if inherited not in TABLES:
            raise GancoreError(f"{where} can't inherit [{inherited}]: there is no such table (known: {listed(TABLES)}).")
        table = _inheriting(plan, inherited, table)
    table = assigned(table, planned.keys.trained_with, f"{where}: trained_with")
    there = _place_there(place, planned)
    group, label = there.split(".", 1)
    if there == "networks.classifier":
        table = merge(table, {group: {label: {"use": planned.full_name, **planned.settings}}})
    recipe = check_table(table, plan.registry, name=f"{name} (for {place})", layers=layer.chain)
    if (group, label) not in recipe.entries:
        what = f"head {label!r}" if group == "heads" else label
        raise GancoreError(f"{where}: {name} trains no {what}; choose another trained_by.")
    return recipe


def _inheriting(plan: Plan, inherited: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return another recipe's table in which one of this plan's recipe has taken the place of its own."""
    own, other = plan.recipe.table.get(inherited), table.get(inherited) or {}
    if own is None:
        return {key: value for key, value in table.items() if key != inherited}
    if inherited == "data":
        augmentation = attrs.fields_dict(Augmentation)
        own = {key: value for key, value in own.items() if key not in augmentation}
        own |= {key: value for key, value in other.items() if key in augmentation}
    elif inherited == "samplers":
        augmenting = {label: sampler for label, sampler in other.items() if not _selects(plan, label, sampler)}
        own = augmenting | {label: sampler for label, sampler in own.items() if _selects(plan, label, sampler)}
    return {**table, inherited: own}


def _selects(plan: Plan, label: str, sampler: Any) -> bool:
    """Return whether a sampler says which of the data take part.

    What another one does to a drawn batch (noise, crops, joined images) is a part of its own recipe's training, and may draw
    from sources that only that recipe has.
    """
    if not isinstance(sampler, Mapping) or sampler.get("of") is not None:
        return False
    registry = plan.registry
    cls: type[Sampler] = registry.load(
        registry.component("sampler", str(sampler.get("use")), f"{plan.recipe.name}: samplers.{label}")
    )
    return cls.selects()


def ensure(
    plan: Plan,
    train: Callable[..., Any],
    announce: Callable[[str], None],
    rehearse: Callable[[Recipe], float],
    agree: Callable[[float], None] = lambda _seconds: None,
) -> dict[str, Path]:
    """Return the weights files of everything that other recipes train, training those that are not there yet.

    Before anything is trained, all that will be is rehearsed, to refuse at once what can be, and told with about how long it
    takes. `train` trains a recipe into a folder, ``(recipe, out=folder, resume=True)``, or goes on where it was stopped;
    `rehearse` returns the seconds of an iteration; `agree` raises where nobody wants to wait for so many seconds. The paths
    are by place in the recipe, e.g. ``networks.classifier``.
    """
    paths = _paths(plan)
    missing = _missing(paths)
    if missing:
        recipes = [plan.recipe, *_first(plan)]
        own, *first = [(recipe, recipe.run.iterations * rehearse(recipe)) for recipe in recipes]
        distributed.on_rank_zero(lambda: _try_to_write(cache_root()))
        distributed.on_rank_zero(lambda: _tell([*first, own], announce))
        distributed.on_rank_zero(lambda: agree(sum(seconds for _, seconds in (*first, own))))
    for place in missing:
        name, folder = wanted(plan)[place].keys.trained_by, paths[place].parent.parent
        # Two places may name one training.
        if not distributed.on_rank_zero(paths[place].is_file):
            announce(f"{place} has no weights yet: training them first by {name}, into {folder}")
            # A run like any other, in its place from the start: what is stopped goes on the next time.
            recipe = training_recipe(plan, place)
            _in_turn(paths[place].is_file, partial(train, recipe, out=folder, resume=True), announce)
    return paths


def _paths(plan: Plan) -> dict[str, Path]:
    """Return where the weights of what a plan wants are, or will be, by place."""
    paths = {}
    for place, planned in wanted(plan).items():
        name = planned.keys.trained_by.replace("/", "-").removesuffix(".toml")
        # Under what it is trained from, so that other images or weights in the same place are not taken for those.
        key = distributed.on_rank_zero(partial(_digest, training_recipe(plan, place), plan.registry))
        folder = cache_root() / "trained" / f"{name}-{key}"
        paths[place] = folder / "weights" / f"{_place_there(place, planned).removeprefix('networks.')}.safetensors"
    return paths


def _first(plan: Plan) -> list[Recipe]:
    """Return the recipes that must be trained before a plan's, in the order in which they will be; each once."""
    first: dict[str, Recipe] = {}
    for place in _missing(_paths(plan)):
        recipe = training_recipe(plan, place)
        for each in (*_first(make_plan(recipe, plan.registry)), recipe):
            first.setdefault(recipe_digest(each), each)
    return list(first.values())


def _missing(paths: Mapping[str, Path]) -> list[str]:
    """Return the places whose weights are not there; all processes train together, so they don't each look for themselves."""
    missing: list[str] = distributed.on_rank_zero(lambda: [place for place, path in paths.items() if not path.is_file()])
    return missing


def _try_to_write(cache: Path) -> None:
    with writing(cache, "set GANCORE_CACHE to a folder that can be"):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass


def _tell(trainings: list[tuple[Recipe, float]], announce: Callable[[str], None]) -> None:
    """Tell what is trained, and for about how many seconds."""
    *first, last = (
        f"  {recipe.name}: {recipe.run.iterations:,} iterations, about {duration(float(f'{seconds:.2g}'))}"
        for recipe, seconds in trainings
    )
    for line in ("Trained first, once:", *first, "and then:", last):
        announce(line)


def _in_turn(is_there: Callable[[], bool], train: Callable[[], Any], announce: Callable[[str], None]) -> None:
    """Train what is not there, or wait for the training elsewhere that has its folder; where that one stops, go on with it."""
    waiting = False
    while not distributed.on_rank_zero(is_there):
        try:
            train()
        except InUse as error:
            if not waiting:
                announce(f"{str(error).split(';')[0]}; waiting until it is trained there.")
            waiting = True
            time.sleep(LOOK_EVERY)


def _digest(recipe: Recipe, registry: Registry) -> str:
    """Return what changes when what decides a recipe's weights does, the content of its data and weights files included."""
    plan = make_plan(recipe, registry)
    data = [content_of(*load_split(dataset, "train"), most=LOOKED_AT) for dataset in (plan.dataset, *plan.sources.values())]
    tables = _placed(plan)
    paths = {place: as_path(one.keys.weights, place) for place, one in tables.items() if one.keys.weights}
    # One that is missing is refused where it is loaded.
    weights = {place: digest([path.read_bytes()]) for place, path in paths.items() if path.is_file()}
    origins = {place: [one.keys.trained_by, one.keys.trained_with, one.keys.inherits] for place, one in tables.items()}
    local = local_versions(registry, recipe.plugins)  # others than plugins change from one run to the next
    return digest_of([identity(recipe.table), data, weights, origins, *([local] if local else [])])
