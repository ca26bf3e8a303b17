"""From a recipe to its plan: every component is loaded, and its settings are converted, once."""

from __future__ import annotations

from typing import Any

import attrs

from gancore.contract import Dataset, Loop, check
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.plan.checks import check_components, check_whole
from gancore.plan.plan import Plan, Planned
from gancore.plan.terms import with_needs
from gancore.recipe import Entry, Recipe, Registry, default_optimizer


def make_plan(recipe: Recipe, registry: Registry) -> Plan:
    """Load the components of a recipe, check everything that can be checked without a tensor, and return the plan.

    Raises:
        GancoreError: With one sentence, for anything that is wrong.
    """

    def group(name: str) -> dict[str, Planned[Any, Any]]:
        return {label: load(entry, registry) for label, entry in recipe.group(name).items() if not entry.shared}

    dataset: Dataset = load(recipe.entries["data", "data"], registry).build({})
    loop: Loop = load(recipe.entries["loop", "loop"], registry).build({})
    attacks = group("attacks")
    if len(attacks) > 1:
        names = " and ".join(f"attacks.{label} ({attack.full_name})" for label, attack in attacks.items())
        raise GancoreError(f"{recipe.name}: a recipe takes one attack, but {names} are given; switch one off with `= false`.")
    latent = recipe.entries.get(("latent", "latent"))
    further = {label: source.build({}) for label, source in group("sources").items()}
    plan = Plan(
        recipe=recipe,
        registry=registry,
        accelerators=tuple((declared.full_name, registry.load(declared)) for declared in recipe.accelerators),
        dataset=dataset,
        sources={label: further.get(label, dataset) for label in recipe.group("sources")},
        loop=loop,
        players=tuple(loop.players),
        networks=group("networks"),
        heads=group("heads"),
        samplers=group("samplers"),
        attack=next(iter(attacks.values()), None),
        latent=None if latent is None else load(latent, registry),
        metrics=group("metrics"),
        optimizers=_optimizers(recipe, registry, tuple(loop.players)),
        schedules={place: load(entry, registry) for place, entry in recipe.schedules.items()},
    )
    check_components(plan)
    terms = {label: with_needs(term, plan) for label, term in group("losses").items()}
    plan = attrs.evolve(plan, terms={label: term for label, term in terms.items() if term.keys.weight != 0})
    check_whole(plan)
    return plan


def load(entry: Entry, registry: Registry) -> Planned[Any, Any]:
    """Return a component of a recipe, imported, with its settings converted."""
    cls = registry.load(entry.declared)
    return Planned(entry, cls, check(cls, entry.settings, where=entry.where), entry.keys)


def _optimizers(recipe: Recipe, registry: Registry, players: tuple[str, ...]) -> dict[str, Planned[Any, None]]:
    tables = recipe.group("optimizers")
    for player in tables:
        if player not in players:
            raise GancoreError(
                f"{recipe.name}: optimizers.{player} belongs to no player{did_you_mean(player, players)} "
                f"(the loop trains {listed(players)})."
            )
    return {
        player: load(tables.get(player) or default_optimizer(recipe.name, player, registry), registry) for player in players
    }
