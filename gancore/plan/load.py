"""From a recipe to its plan: every component is loaded and its settings are checked."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from gancore.contract import Classifier, Dataset, DatasetInfo, Loop, check
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.plan.checks import added_sides, check_attacked, check_reads, check_roles, check_whole
from gancore.plan.optimizers import check_optimizer
from gancore.plan.plan import (
    DISCRIMINATOR,
    AttackPlan,
    Built,
    HeadPlan,
    NetworkPlan,
    Plan,
    SamplerPlan,
    SourcePlan,
    Term,
    construct,
)
from gancore.plan.vocabulary import attacked_method, needs_of
from gancore.recipe import AttackKeys, HeadKeys, NetworkKeys, Part, Recipe, SamplerKeys, TermKeys, default_optimizer

if TYPE_CHECKING:
    from gancore.recipe import Registry


OWN_KEYS = ("losses", "networks", "heads", "attacks", "samplers", "optimizers")
"""Groups of parts with keys that core handles beside their own settings, or that are loaded for each player."""

K = TypeVar("K", TermKeys, NetworkKeys, HeadKeys, AttackKeys, SamplerKeys)


def make_plan(recipe: Recipe, registry: Registry) -> Plan:
    """Load the components of a recipe, check everything that can be checked without a tensor, and return the plan.

    Raises:
        GancoreError: With one sentence, for anything that is wrong.
    """
    built = {key: _load(part, registry) for key, part in recipe.parts.items() if part.group not in OWN_KEYS and not part.shared}

    def group(name: str) -> dict[str, Built]:
        return {label: built[name, label] for label in recipe.group(name)}

    dataset: Dataset = _construct(built["data", "data"])
    loop: Loop = _construct(built["loop", "loop"])
    players = tuple(loop.players)
    attacks = list(recipe.group("attacks").values())
    if len(attacks) > 1:
        names = " and ".join(f"attacks.{part.label} ({part.declared.full_name})" for part in attacks)
        raise GancoreError(f"{recipe.name}: a recipe takes one attack, but {names} are given; switch one off with `= false`.")
    networks = {label: _load_network(part, registry, players) for label, part in recipe.group("networks").items()}
    for player in players:
        if player not in networks:
            raise GancoreError(
                f"{recipe.name}: the loop {recipe.parts['loop', 'loop'].declared.full_name} trains {listed(players)}, but the "
                f"recipe has no [networks.{player}]; add it, or layer this fragment over a whole recipe with --with."
            )
    heads = {label: HeadPlan(part, *_split(part, registry, HeadKeys)) for label, part in recipe.group("heads").items()}
    check_roles(recipe, networks, heads)
    plan = Plan(
        recipe=recipe,
        registry=registry,
        accelerators=tuple((declared.full_name, registry.load(declared)) for declared in recipe.accelerators),
        dataset=dataset,
        info=dataset.info,
        networks=networks,
        heads=heads,
        terms={},
        samplers={
            label: SamplerPlan(part, *_split(part, registry, SamplerKeys)) for label, part in recipe.group("samplers").items()
        },
        sources=_load_sources(recipe, built, dataset),
        added=(),
        attack=_load_attack(attacks[0], registry, networks, players) if attacks else None,
        metrics=group("metrics"),
        loop=loop,
        latent=built.get(("latent", "latent")),
        players=players,
        optimizers=_optimizers(recipe, registry, players),
        schedules={place: _load(part, registry) for place, part in recipe.schedules.items()},
    )
    plan = attrs.evolve(plan, added=added_sides(plan))
    terms = {label: _load_term(part, plan) for label, part in recipe.group("losses").items()}
    plan = attrs.evolve(plan, terms={label: term for label, term in terms.items() if term.keys.weight != 0})
    check_whole(plan)
    return plan


def _load(part: Part, registry: Registry) -> Built:
    cls = registry.load(part.declared)
    return Built(part, cls, check(cls, part.settings, where=part.where))


def _load_sources(recipe: Recipe, built: Mapping[tuple[str, str], Built], data: Dataset) -> dict[str, SourcePlan]:
    sources = {}
    for label, part in recipe.group("sources").items():
        dataset = data if part.shared else _construct(built["sources", label])
        own, info = data.info, dataset.info
        if (info.channels, info.image_size, info.continuous) != (own.channels, own.image_size, own.continuous):
            resized = attrs.evolve(info, image_size=own.image_size)
            remedy = f", or set sources.{label}.image_size" if _described(resized) == _described(own) else ""
            raise GancoreError(
                f"{part.where} has {_described(info)}, and the data have {_described(own)}; "
                f"choose a set of the same shape{remedy}."
            )
        if info.classes > own.classes:
            raise GancoreError(
                f"{part.where} has {info.classes} classes, and the data have {own.classes}, which the networks are made for; "
                "choose a set with no more classes."
            )
        sources[label] = SourcePlan(part, dataset, part.shared)
    return sources


def _described(info: DatasetInfo) -> str:
    kind = "points" if info.continuous else "images"
    return f"{kind} of {info.channels} x {info.image_size} x {info.image_size}"


def _construct(built: Built) -> Any:
    return construct(built, {})


def _split(part: Part, registry: Registry, keys: type[K]) -> tuple[type[Any], dict[str, Any], K]:
    """Return a part's class, its own settings, checked, and the keys that core handles, checked."""
    cls = registry.load(part.declared)
    own = {key: value for key, value in part.settings.items() if key in attrs.fields_dict(keys)}
    rest = {key: value for key, value in part.settings.items() if key not in own}
    given = check(keys, own, where=part.where)
    return cls, check(cls, rest, where=part.where), keys(**{key: value for key, value in given.items() if key in own})


def _load_attack(part: Part, registry: Registry, networks: Mapping[str, NetworkPlan], players: Collection[str]) -> AttackPlan:
    cls, settings, keys = _split(part, registry, AttackKeys)
    classifiers = [player for player in players if issubclass(networks[player].cls, Classifier)]
    if DISCRIMINATOR not in players and not classifiers:
        raise GancoreError(
            f"{part.where} attacks the discriminator or a classifier, but the loop trains {listed(players)}; switch it off."
        )
    if cls.gradient == "logits":
        raise GancoreError(f"{part.where} needs a classifier's logits, so it attacks in evaluation only: see `gancore attack`.")
    if cls.gradient not in ("own", "shared"):
        raise GancoreError(f"{part.where} declares gradient = {cls.gradient!r}; it must be 'own', 'shared' or 'logits'.")
    if not keys.sides or (cls.gradient == "shared" and keys.sides != ["real"]):
        raise GancoreError(
            f'{part.where}: sides = {keys.sides} can\'t be; an attack of gradient "shared" takes ["real"], others one or more.'
        )
    return AttackPlan(part, cls, settings, keys, DISCRIMINATOR if DISCRIMINATOR in players else classifiers[0])


def _load_network(part: Part, registry: Registry, players: Collection[str]) -> NetworkPlan:
    cls, settings, keys = _split(part, registry, NetworkKeys)
    trained = part.label in players
    if (keys.input_mean is None) != (keys.input_std is None):
        raise GancoreError(f"{part.where} needs both input_mean and input_std, or neither.")
    return NetworkPlan(part, cls, settings, keys, trained)


def _optimizers(recipe: Recipe, registry: Registry, players: Collection[str]) -> dict[str, Built]:
    tables = recipe.group("optimizers")
    for player in tables:
        if player not in players:
            raise GancoreError(
                f"{recipe.name}: optimizers.{player} belongs to no player{did_you_mean(player, players)} "
                f"(the loop trains {listed(players)})."
            )
    default = functools.partial(default_optimizer, recipe.name, registry=registry)
    optimizers = {player: _load(tables.get(player) or default(player), registry) for player in players}
    for player, optimizer in optimizers.items():
        places = (name.rpartition(".") for name in recipe.schedules)
        check_optimizer(optimizer, [number for place, _, number in places if place == f"optimizers.{player}"])
    return optimizers


def _load_term(part: Part, plan: Plan) -> Term:
    cls, settings, keys = _split(part, plan.registry, TermKeys)
    if keys.stop is not None and keys.stop <= keys.start:
        raise GancoreError(f"{part.where}: stop = {keys.stop} must be above start = {keys.start}.")
    names = [player for player in plan.players if callable(getattr(cls, player, None))]
    for player in keys.players or ():
        if player not in names:
            raise GancoreError(
                f"{part.where}: players names {player!r}, for which it has no loss{did_you_mean(player, names)} "
                f"(it has one for: {listed(names)})."
            )
    names = names if keys.players is None else [player for player in names if player in keys.players]
    if not names:
        sides = [n for n in ("generator", "discriminator", "classifier") if callable(getattr(cls, n, None))]
        raise GancoreError(
            f"{part.where} takes part in no player's loss: it has a loss for {listed(sides)}, "
            f"and the loop trains {listed(plan.players)}."
        )
    wanted = [*names, *cls.extra_views.values()]
    attacked = () if plan.attack is None else tuple(attacked_method(side) for side in plan.attack.keys.sides)
    wanted += [name for name in ("observe", *attacked) if callable(getattr(cls, name, None))]
    methods = {name: needs_of(cls, name, part, plan, keys.reads) for name in wanted}
    check_reads(keys.reads, cls, wanted, part)
    for name in attacked:
        check_attacked(name, methods.get(name, ()), part, plan)
    views = {f"{side}_view" for side in ("real", *plan.sides, *plan.further, *cls.extra_views)}
    for view in cls.differentiates:
        if view not in views:
            raise GancoreError(f"{part.where} differentiates {view!r}, which is no view; it may name {listed(views)}.")
    return Term(part.label, part, cls, keys, settings, methods)
