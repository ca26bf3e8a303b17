"""The recipes of a prior GAN and of a perturbation, checked before anything is trained or written."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import attrs

from gancore import GancoreError
from gancore.tools import Plan, Recipe, check_table, make_plan, merge, read, settings_of
from gancore_uap import victims
from gancore_uap.budgets import check_epsilon
from gancore_uap.losses import Fooling
from gancore_uap.perturbations import Perturbed
from gancore_uap.workbench import Workbench

if TYPE_CHECKING:
    from gancore.tools import Registry


BALANCE = "cbgan/class-balance"


@attrs.frozen
class Prior:
    """A prior GAN to train and to sample, checked.

    Attributes:
        recipe: What is trained.
        cycles: Iterations at the end of the cycles to sample.
        images: Images of each.
        form: How the images are kept.
        classes: Classes of the classifier in its loop, where its recipe says.
    """

    recipe: Recipe
    cycles: list[int]
    images: int
    form: Literal["safetensors", "png"]
    classes: int | None


def plan_prior(
    workbench: Workbench,
    name: str,
    *,
    victim: str | None = None,
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
    cycles: int | None = None,
    images: int = 1024,
    form: Literal["safetensors", "png"] = "safetensors",
) -> Prior:
    """Return a prior to train, checked, before anything is trained or written.

    The class-balancing regularizer gets the classifier's classes, and the checkpoints' cycle where it has none of its own.

    Args:
        workbench: Where to work.
        name: The recipe of the prior GAN.
        victim: The classifier in the loop, in place of the recipe's.
        overlays: Recipes layered over it.
        assignments: ``KEY=VALUE`` texts.
        cycles: Cycles to sample from, the last ones; by default as many checkpoints as the recipe keeps.
        images: Images of each.
        form: How the images are kept.

    Raises:
        GancoreError: Anything wrong with the recipe, or it has fewer cycles, or no classifier.
    """
    registry = workbench.registry
    sampled = [] if cycles is None else [f"run.keep_checkpoints={cycles}"]
    recipe = read(name, registry, overlays=overlays, assignments=[*assignments, *sampled])
    if victim is not None:
        recipe = _with_victims(recipe, [victim], registry)
    if victims.LABEL not in recipe.group("networks"):
        raise GancoreError(f"{recipe.name} has no [networks.{victims.LABEL}] in its loop; add one with --victim.")
    classes = _known_classes(make_plan(_without_balance(recipe, registry), registry), victims.LABEL)
    table = copy.deepcopy(recipe.table)
    for label in _balancing(recipe):
        own = table["losses"][label]
        own.setdefault("cycle", max(1, recipe.run.checkpoint_every))
        if classes is not None and (victim is not None or "classes" not in own):
            own["classes"] = classes
    recipe = _changed(recipe, table, registry)
    make_plan(recipe, registry)
    return Prior(recipe, cycles_of(recipe), images, form, classes)


def _changed(recipe: Recipe, table: Mapping[str, Any], registry: Registry) -> Recipe:
    """Return a recipe with another table, checked."""
    return check_table(table, registry, name=recipe.name, layers=recipe.layers)


def _balancing(recipe: Recipe) -> list[str]:
    """Return the labels of a recipe's class-balancing terms."""
    return [label for label, term in recipe.group("losses").items() if term.declared.full_name == BALANCE]


def _without_balance(recipe: Recipe, registry: Registry) -> Recipe:
    """Return a recipe without its class-balancing terms, whose settings are not known yet."""
    table = copy.deepcopy(recipe.table)
    for label in _balancing(recipe):
        del table["losses"][label]
    return _changed(recipe, table, registry)


def _with_victims(recipe: Recipe, specs: Sequence[str], registry: Registry) -> Recipe:
    """Return a recipe with victims in place of its own classifiers of their labels, of which nothing is left."""
    table = copy.deepcopy(recipe.table)
    networks = victims.networks_of(specs, registry)
    for label in networks:
        table.get("networks", {}).pop(label, None)
    return _changed(recipe, merge(table, {"networks": networks}), registry)


def _known_classes(plan: Plan, label: str) -> int | None:
    """Return a classifier's number of classes, or None where only the built network knows it."""
    network = plan.networks[label]
    if "classes" in network.settings:
        return int(network.settings["classes"])
    return plan.info.classes if "classes" in settings_of(network.cls) else None


def cycles_of(recipe: Recipe) -> list[int]:
    """Return the iterations at the ends of the cycles to sample, the last ones.

    Raises:
        GancoreError: The recipe has fewer.
    """
    run = recipe.run
    ends = [*range(run.checkpoint_every, run.iterations, run.checkpoint_every)] if run.checkpoint_every else []
    # The last iteration is a checkpoint too; without any other there is no cycle, but one long training.
    ends = [*ends, run.iterations] if run.checkpoint_every else []
    wanted = run.keep_checkpoints or len(ends)
    if not ends or wanted > len(ends):
        raise GancoreError(
            f"{recipe.name} has {len(ends)} of the {wanted or 1} cycles to be sampled (run.checkpoint_every = "
            f"{run.checkpoint_every}, run.iterations = {run.iterations}); set run.checkpoint_every to the length of a cycle, "
            "or lower --cycles."
        )
    return ends[-wanted:]


def plan_crafting(
    workbench: Workbench,
    method: str,
    *,
    victim_specs: Sequence[str],
    data: Mapping[str, Any],
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
) -> Recipe:
    """Return the recipe of a crafting, checked, before anything is trained or written.

    Args:
        workbench: Where to work.
        method: The recipe of the crafting, e.g. ``uap/gap``.
        victim_specs: The classifiers to fool, all at once.
        data: The ``[data]`` to craft on.
        overlays: Recipes layered over it.
        assignments: ``KEY=VALUE`` texts.

    Raises:
        GancoreError: Anything wrong with recipe, data or victims, or it trains no perturbation.
    """
    registry = workbench.registry
    names = victims.names_of(victim_specs)
    recipe = _with_victims(
        read(method, registry, overlays=overlays, assignments=assignments, overrides={"data": dict(data)}),
        victim_specs,
        registry,
    )
    if len(names) > 1:
        recipe = _changed(recipe, merge(recipe.table, {"losses": _once_for_each(recipe, len(names))}), registry)
    plan = make_plan(recipe, registry)
    generator = plan.networks.get("generator")
    if generator is None or not issubclass(generator.cls, Perturbed):
        raise GancoreError(f"{recipe.name} trains no perturbation; craft by a recipe such as uap/gap or uap/direct.")
    budget = {key: generator.settings.get(key, settings_of(generator.cls)[key].default) for key in ("epsilon", "norm")}
    check_epsilon(budget["epsilon"], generator.where, budget["norm"])
    if plan.info.continuous:
        raise GancoreError(
            f"{recipe.name}: a perturbation is crafted on images of 8 bits, and the data are none; choose others."
        )
    for term in plan.terms.values():
        target = term.settings.get("target") if issubclass(term.cls, Fooling) else None
        classes = _known_classes(plan, term.keys.reads.get(victims.LABEL, victims.LABEL)) if target is not None else None
        if target is not None and classes is not None and target >= classes:
            raise GancoreError(f"{term.where}: there is no class {target}; the victim has the classes 0 to {classes - 1}.")
    return recipe


def _once_for_each(recipe: Recipe, number: int) -> dict[str, Any]:
    """Return the losses that fool the victims after the first as the recipe fools that one."""
    fooling = recipe.table.get("losses", {}).get("fooling")
    if not fooling:
        raise GancoreError(f"{recipe.name} has no [losses.fooling] to repeat for each victim; craft by uap/gap or uap/direct.")
    labels = [victims.label_of(place) for place in range(1, number)]
    return {f"fooling{place}": merge(fooling, {"reads": {victims.LABEL: label}}) for place, label in enumerate(labels, start=2)}
