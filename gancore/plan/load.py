"""From a recipe to its plan: every component is loaded, and its settings are converted, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from gancore.contract import Dataset, DatasetInfo, Loop, check
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.plan.checks import (
    added_sides,
    check_attack,
    check_attacked,
    check_networks,
    check_optimizer,
    check_reads,
    check_sides,
    check_term,
    check_whole,
)
from gancore.plan.plan import Plan, Planned, Term
from gancore.plan.vocabulary import attacked_method, needs_of, vocabulary
from gancore.recipe import Entry, Recipe, default_optimizer

if TYPE_CHECKING:
    from gancore.recipe import Registry


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
    check_networks(plan)
    for label, source in plan.sources.items():
        _check_source(recipe.entries["sources", label].where, label, source.info, plan.info)
    check_attack(plan)
    for player, optimizer in plan.optimizers.items():
        check_optimizer(optimizer, plan.factors(f"optimizers.{player}"))
    plan = attrs.evolve(plan, added=added_sides(plan))
    terms = {label: _with_needs(term, plan) for label, term in group("losses").items()}
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


def _check_source(where: str, label: str, info: DatasetInfo, data: DatasetInfo) -> None:
    """Refuse a further stream of images that the networks are not made for."""
    if (info.channels, info.image_size, info.continuous) != (data.channels, data.image_size, data.continuous):
        resized = attrs.evolve(info, image_size=data.image_size)
        remedy = f", or set sources.{label}.image_size" if _described(resized) == _described(data) else ""
        raise GancoreError(
            f"{where} has {_described(info)}, and the data have {_described(data)}; choose a set of the same shape{remedy}."
        )
    if info.classes > data.classes:
        raise GancoreError(
            f"{where} has {info.classes} classes, and the data have {data.classes}, which the networks are made for; "
            "choose a set with no more classes."
        )


def _described(info: DatasetInfo) -> str:
    kind = "points" if info.continuous else "images"
    return f"{kind} of {info.channels} x {info.image_size} x {info.image_size}"


def _with_needs(term: Term, plan: Plan) -> Term:
    """Return a loss term with what its methods need, or refuse what is not there."""
    players = check_term(term, plan)
    cls, sides = term.cls, () if plan.attack is None else plan.attack.keys.sides
    attacked = [attacked_method(side) for side in sides]
    methods = [*players, *cls.extra_views.values()]
    methods += [name for name in ("observe", *attacked) if callable(getattr(cls, name, None))]
    names = vocabulary(plan, term.label, cls.extra_views, term.keys.reads)
    needs = {method: needs_of(term, method, names, plan) for method in methods}
    check_reads(term, methods)
    check_sides(term, players, needs, plan)
    for method in attacked:
        check_attacked(term, method, needs.get(method, ()), plan)
    views = {name: need for name, need in names.items() if need.kind == "view"}
    for view in cls.differentiates:
        if view not in views:
            raise GancoreError(f"{term.where} differentiates {view!r}, which is no view; it may name {listed(views)}.")
    return attrs.evolve(term, methods={**needs, "differentiates": tuple(views[view] for view in sorted(cls.differentiates))})
