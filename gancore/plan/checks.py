"""What a plan is refused for, each with a sentence that says why and what to write instead."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gancore.contract import Classifier, Discriminator, Generator, Sampler, settings_of
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.plan.optimizers import scheduled_numbers
from gancore.plan.phases import plan_phase
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Need, Plan, Planned, Term
from gancore.plan.vocabulary import RESERVED, SEEN, SIDES, attacked_method, parameters_of, split


def check_networks(plan: Plan) -> None:
    """Refuse networks that are not what their label says, and labels that the vocabulary needs."""
    recipe, networks = plan.recipe, plan.networks
    for player in plan.players:
        if player not in networks:
            loop = recipe.entries["loop", "loop"].declared.full_name
            raise GancoreError(
                f"{recipe.name}: the loop {loop} trains {listed(plan.players)}, but the recipe has no [networks.{player}]; "
                "add it, or layer this fragment over a whole recipe with --with."
            )
    for label, role in ((GENERATOR, Generator), (DISCRIMINATOR, Discriminator)):
        if label in networks and not issubclass(networks[label].cls, role):
            raise GancoreError(f"{networks[label].where} is no {label}; choose one of `gancore components network`.")
    if plan.heads and DISCRIMINATOR not in networks:
        raise GancoreError(f"{recipe.name} has heads but no [networks.discriminator] that could carry them; add one.")
    for label in plan.heads:
        if label in networks or label in (*SEEN, "label"):
            raise GancoreError(
                f"{recipe.name}: the label of heads.{label} is taken by a network or the vocabulary; rename the head."
            )
    for label, source in recipe.group("sources").items():
        _check_side(label, source.where, (*networks, *plan.heads))
    for label, network in networks.items():
        where, keys = network.where, network.keys
        if (keys.input_mean is None) != (keys.input_std is None):
            raise GancoreError(f"{where} needs both input_mean and input_std, or neither.")
        if keys.on is not None and (label != DISCRIMINATOR or keys.on not in networks):
            what = f"the network {keys.on!r} is not in the recipe" if label == DISCRIMINATOR else "only a discriminator can"
            raise GancoreError(f"{where} can't stand on the features of another network: {what}; correct `on`.")
        if keys.on is not None and not issubclass(networks[keys.on].cls, Classifier):
            raise GancoreError(f"{where}: on = {keys.on!r} is no classifier, so it has no features; name a classifier.")
        starts = keys.weights or keys.trained_by
        if label not in plan.players and not starts and network.cls.frozen_needs_weights:
            raise GancoreError(
                f"{where} is frozen in this recipe, so it needs trained weights: "
                f"set networks.{label}.weights to a safetensors file, or trained_by to a recipe."
            )


def _check_side(label: str, where: str, taken: Collection[str]) -> None:
    if label in {*taken, *RESERVED} or "_" in label:
        raise GancoreError(
            f"{where}: the label {label!r} is taken, or holds an underscore; the names {label} and {label}_label "
            "shall mean its images alone, so rename that side."
        )


def added_sides(plan: Plan) -> tuple[str, ...]:
    """Return the labels of the sides that samplers add, or refuse what samplers say of sides that the recipe does not have."""
    added: list[str] = []
    for planned in plan.samplers.values():
        if planned.keys.of is not None:
            continue
        sampler = planned.build(plan.context)
        for label in sampler.adds:
            _check_side(label, planned.where, (*plan.networks, *plan.heads, *plan.sources, *added))
            added.append(label)
        known = {"joins": tuple(plan.sides), "blends": ("real", *plan.sources, *added)}
        for what, sides in known.items():
            for side in getattr(sampler, what):
                if side not in sides:
                    raise GancoreError(
                        f"{planned.where} {what} the side {side!r}, which is none of {listed(sides)}; change its settings."
                    )
    return tuple(added)


def check_attack(plan: Plan) -> None:
    """Refuse an attack that has no player to attack, or says what can't be."""
    if plan.attack is None:
        return
    where, keys, gradient = plan.attack.where, plan.attack.keys, plan.attack.cls.gradient
    if plan.target is None:
        raise GancoreError(
            f"{where} attacks the discriminator or a classifier, but the loop trains {listed(plan.players)}; switch it off."
        )
    if gradient == "logits":
        raise GancoreError(f"{where} needs a classifier's logits, so it attacks in evaluation only: see `gancore attack`.")
    if gradient not in ("own", "shared"):
        raise GancoreError(f"{where} declares gradient = {gradient!r}; it must be 'own', 'shared' or 'logits'.")
    if not keys.sides or (gradient == "shared" and keys.sides != ["real"]):
        raise GancoreError(
            f'{where}: sides = {keys.sides} can\'t be; an attack of gradient "shared" takes ["real"], others one or more.'
        )


def check_optimizer(optimizer: Planned[Any, None], scheduled: Iterable[str]) -> None:
    """Refuse an optimizer that one backward a turn can't feed, and a schedule of a number that it does not have."""
    step = getattr(optimizer.cls, "step", None)
    closure = None if step is None else inspect.signature(step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise GancoreError(
            f"{optimizer.where} computes the loss several times in a step (a closure), and a turn computes it once; "
            "choose another."
        )
    if optimizer.full_name == "torch/SparseAdam":
        raise GancoreError(
            f"{optimizer.where} takes sparse gradients alone, and gancore's are dense; choose another, e.g. torch/Adam."
        )
    defaults = {name: setting.default for name, setting in settings_of(optimizer.cls).items()}
    numbers = scheduled_numbers({**defaults, **optimizer.settings})
    for name in scheduled:
        if name not in numbers:
            raise GancoreError(
                f"{optimizer.where} has no number {name!r} that a schedule could multiply{did_you_mean(name, numbers)} "
                f"(those that are not 0: {listed(numbers)})."
            )


def check_term(term: Term, plan: Plan) -> list[str]:
    """Return the players in whose losses a term takes part, or refuse one that takes part in none."""
    keys = term.keys
    if keys.stop is not None and keys.stop <= keys.start:
        raise GancoreError(f"{term.where}: stop = {keys.stop} must be above start = {keys.start}.")
    players = [player for player in plan.players if callable(getattr(term.cls, player, None))]
    for player in keys.players or ():
        if player not in players:
            raise GancoreError(
                f"{term.where}: players names {player!r}, for which it has no loss{did_you_mean(player, players)} "
                f"(it has one for: {listed(players)})."
            )
    players = [player for player in players if keys.players is None or player in keys.players]
    if not players:
        usual = [player for player in ("generator", "discriminator", "classifier") if callable(getattr(term.cls, player, None))]
        raise GancoreError(
            f"{term.where} takes part in no player's loss: it has a loss for {listed(usual)}, "
            f"and the loop trains {listed(plan.players)}."
        )
    return players


def check_reads(term: Term, methods: Iterable[str]) -> None:
    """Refuse a `reads` that changes nothing, which is a slip of the pen."""
    parameters = {name for method in methods for name in parameters_of(getattr(term.cls, method))}
    named = {what for _, what in map(split, parameters) if what} | {side for side, _ in map(split, parameters) if side in SIDES}
    for label in term.keys.reads:
        if label not in named:
            raise GancoreError(
                f"{term.where}: reads replaces {label!r}, which no parameter of it names{did_you_mean(label, named)} "
                f"(they name: {listed(named)})."
            )


def check_sides(term: Term, players: Iterable[str], needs: Mapping[str, Iterable[Need]], plan: Plan) -> None:
    """Refuse a term that reads other sides, and so is a constant to a generator in whose loss it takes part."""
    for player in players:
        own = {side for side, label in plan.sides.items() if label == player}
        moved = any(need.side in own or ":" in need.side for need in needs[player])
        if own and not moved and not term.keys.reads.keys().isdisjoint(SIDES):
            read = ", ".join(term.keys.reads.values())
            raise GancoreError(
                f"{term.where} reads {read}, so nothing in its loss of the {player} depends on the {player}; say in whose losses "
                'it takes part, e.g. players = ["discriminator"].'
            )


def check_attacked(term: Term, method: str, needs: Iterable[Need], plan: Plan) -> None:
    """Refuse what an attack does not compute: it passes images through its target alone, again and again."""
    target = plan.target
    for need in needs:
        own = need.kind in ("head", "features") if target == DISCRIMINATOR else need.kind == "network" and need.label == target
        if not own and need.kind not in ("batch", "images", "noise", "iteration"):
            raise GancoreError(
                f"{term.where} asks for {need.name!r} in its {method}, which an attack on the {target} does not compute; "
                "it may ask for the target's own outputs, images and labels."
            )


def check_whole(plan: Plan) -> None:
    """Refuse a plan whose components do not belong together."""
    _check_codes(plan)
    for player in plan.players:
        if not any(player in term.methods for term in plan.terms.values()):
            raise GancoreError(
                f"{plan.recipe.name}: no loss term trains the {player}; add one under [losses] with a weight other than 0."
            )
    if plan.recipe.ema is not None and GENERATOR not in plan.players:
        raise GancoreError(
            f"{plan.recipe.name}: [ema] averages the generator, but the loop trains {listed(plan.players)}; set ema = false."
        )
    _check_raised(plan)
    _check_samplers(plan)
    _check_metrics(plan)


def _check_codes(plan: Plan) -> None:
    """Refuse codes whose names mean something else in this recipe."""
    for name in plan.codes:
        taken = {*RESERVED, *plan.networks, *plan.heads, *plan.further}
        if plan.latent is not None and (name in taken or not re.fullmatch(r"[a-z][a-z0-9]*", name)):
            raise GancoreError(
                f"{plan.latent.where} has a code called {name!r}, a name that is taken here or not of lower-case letters and "
                "digits; rename what the recipe calls so, or the code."
            )


def _check_raised(plan: Plan) -> None:
    """Refuse an attack on sides that nothing looks at, or of which no term says what to raise."""
    if plan.attack is None or plan.target is None:
        return
    where, target = plan.attack.where, plan.target
    terms = [term for term in plan.terms.values() if target in term.methods]
    for side in plan.attack.keys.sides:
        method = attacked_method(side)
        if plan.attack.cls.gradient == "own" and not any(method in term.methods for term in terms):
            raise GancoreError(
                f"{where} has nothing to raise: none of the losses {listed(term.label for term in terms)} says "
                f"what an attack on {side} images raises ({method})."
            )
        if side not in plan_phase(plan, target, plan.terms).attacked:
            raise GancoreError(f"{where} has no target: no loss term of the {target} looks at {side} images through it.")


def _check_samplers(plan: Plan) -> None:
    """Refuse samplers that read, or act on, a source that the recipe does not have."""
    for sampler in plan.samplers.values():
        of = sampler.keys.of
        for label in sampler.build(plan.context).reads() if of is None else ():
            if label not in plan.sources:
                raise GancoreError(
                    f"{sampler.where} draws from the source {label!r}, which this recipe does not have "
                    f"(its sources: {listed(plan.sources)}); add [sources.{label}]."
                )
        if of is not None and of not in plan.sources:
            raise GancoreError(
                f"{sampler.where}: of = {of!r} names no source of this recipe{did_you_mean(of, plan.sources)} "
                f"(its sources: {listed(plan.sources)}); add [sources.{of}]."
            )
        if of is not None and (sampler.cls.draw is not Sampler.draw or sampler.cls.view is not Sampler.view):
            raise GancoreError(
                f"{sampler.where} changes drawn batches, so it can't act on the source {of!r} alone; leave out `of`."
            )


def _check_metrics(plan: Plan) -> None:
    """Refuse metrics that read a network, or score images, which the recipe does not have."""
    for label, metric in plan.metrics.items():
        setting = settings_of(metric.cls).get("network")
        default = None if setting is None or setting.required else setting.default
        chosen = metric.settings.get("network", getattr(metric.cls, "network", None)) or default
        if chosen is not None and (chosen not in plan.networks or not issubclass(plan.networks[chosen].cls, Classifier)):
            raise GancoreError(
                f"{metric.where} reads the network {chosen!r}, which is no classifier of this recipe; "
                f"add [networks.{chosen}] or set metrics.{label}.network."
            )
    scoring = [label for label, metric in plan.metrics.items() if hasattr(metric.cls, "update")]
    if scoring and GENERATOR not in plan.networks:
        raise GancoreError(
            f"{plan.recipe.name}: the metrics {listed(scoring)} score generated images, but there is no generator."
        )
