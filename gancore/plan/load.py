"""From a recipe to its plan: every component is loaded, and its settings are converted, once."""

from __future__ import annotations

from typing import Any

import attrs
from torch import Tensor

import gancore.plan.checks as checks
from gancore.contract import Dataset, DatasetInfo, Rows, check
from gancore.errors import GancoreError
from gancore.plan.plan import Plan, Planned
from gancore.plan.terms import with_needs
from gancore.recipe import Entry, Recipe, default_optimizer
from gancore.registry import Registry


class Known(Dataset):
    """An image set of which a run remembers what it declares, so that what needs no image does without its files.

    Its `class_counts` are the images per class that took part in the training.
    """

    info = DatasetInfo(1, 1, 1)

    def __init__(self, dataset: Dataset, info: DatasetInfo, class_counts: list[int]) -> None:
        self.dataset = dataset
        self.info = info
        self.class_counts = class_counts

    def load(self, split: str) -> tuple[Rows, Tensor]:
        """Return what the image set itself gives."""
        return self.dataset.load(split)


def make_plan(recipe: Recipe, registry: Registry, known: tuple[DatasetInfo, list[int]] | None = None) -> Plan:
    """Load the components of a recipe, check everything that can be checked without a tensor, and return the plan.

    Args:
        recipe: The recipe.
        registry: Where its components come from.
        known: What its data declare and hold of each class, where a run of it has written that down.

    Raises:
        GancoreError: With one sentence, for anything that is wrong.
    """

    def group(name: str) -> dict[str, Planned[Any, Any]]:
        return {label: planned(entry, registry) for label, entry in recipe.group(name).items() if not entry.shared}

    dataset: Dataset = planned(recipe.entries["data", "data"], registry).build({})
    latent = recipe.entries.get(("latent", "latent"))
    further = {label: source.build({}) for label, source in group("sources").items()}
    if known is not None:
        dataset, further = Known(dataset, *known), {label: Known(source, *known) for label, source in further.items()}
    plan = Plan(
        recipe=recipe,
        registry=registry,
        accelerators=tuple((declared.full_name, registry.load(declared)) for declared in recipe.accelerators),
        dataset=dataset,
        sources={label: further.get(label, dataset) for label in recipe.group("sources")},
        loop=planned(recipe.entries["loop", "loop"], registry),
        players=(),
        networks=group("networks"),
        heads=group("heads"),
        samplers=group("samplers"),
        attack=next(iter(group("attacks").values()), None),
        latent=None if latent is None else planned(latent, registry),
        metrics=group("metrics"),
        optimizers={},
        schedules={place: planned(entry, registry) for place, entry in recipe.schedules.items()},
    )
    players = tuple(plan.loop.build(plan.context).players)
    tables = recipe.group("optimizers")
    entries = {player: tables.get(player) or default_optimizer(recipe.name, player, registry) for player in players}
    optimizers = {player: planned(entry, registry) for player, entry in entries.items()}
    plan = attrs.evolve(plan, players=players, optimizers=optimizers)
    for problem in checks.of_components(plan):
        raise GancoreError(problem)
    terms = {label: with_needs(term, plan) for label, term in group("losses").items()}
    plan = attrs.evolve(plan, terms={label: term for label, term in terms.items() if term.keys.weight != 0})
    for problem in checks.of_whole(plan):
        raise GancoreError(problem)
    return plan


def planned(entry: Entry, registry: Registry) -> Planned[Any, Any]:
    """Return a component of a recipe, imported, with its settings converted."""
    cls = registry.load(entry.declared)
    return Planned(entry, cls, check(cls, entry.settings, where=entry.where), entry.keys)
