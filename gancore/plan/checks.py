"""What a plan is refused for, each with a sentence that says why and what to write instead."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from gancore.contract import Classifier, Discriminator, Generator, LossTerm, Sampler
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.plan.phases import plan_phase
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Built, Need, NetworkPlan, Plan, construct
from gancore.plan.vocabulary import SIDES, attacked_method, parameters_of
from gancore.recipe import Part, Recipe

RESERVED = ("real", "fake", "noise", "iteration", "z")
"""Names that the vocabulary has in every recipe."""


def check_latent(latent: Built, taken: Collection[str]) -> None:
    """Refuse codes whose names mean something else in this recipe."""
    for name in latent.cls.codes:
        if name in {*RESERVED, *taken} or not re.fullmatch(r"[a-z][a-z0-9]*", name):
            raise GancoreError(
                f"{latent.part.where} has a code called {name!r}, a name that is taken here or not of lower-case letters and "
                "digits; rename what the recipe calls so, or the code."
            )


def check_roles(recipe: Recipe, networks: Mapping[str, NetworkPlan], heads: Collection[str]) -> None:
    """Refuse networks that are not what their label says, and labels that the vocabulary needs."""
    for label, role in ((GENERATOR, Generator), (DISCRIMINATOR, Discriminator)):
        network = networks.get(label)
        if network is not None and not issubclass(network.cls, role):
            raise GancoreError(f"{network.part.where} is no {label}; choose one of `gancore components network`.")
    if heads and DISCRIMINATOR not in networks:
        raise GancoreError(f"{recipe.name} has heads but no [networks.discriminator] that could carry them; add one.")
    for label in heads:
        if label in networks or label in ("view", "features", "activations", "label"):
            raise GancoreError(
                f"{recipe.name}: the label of heads.{label} is taken by a network or the vocabulary; rename the head."
            )
    for label, source in recipe.group("sources").items():
        _check_side(label, source.where, (*networks, *heads))
    for label, network in networks.items():
        on = network.keys.on
        if on is not None and (label != DISCRIMINATOR or on not in networks):
            what = f"the network {on!r} is not in the recipe" if label == DISCRIMINATOR else "only a discriminator can"
            raise GancoreError(f"{network.part.where} can't stand on the features of another network: {what}; correct `on`.")
        if on is not None and not issubclass(networks[on].cls, Classifier):
            raise GancoreError(f"{network.part.where}: on = {on!r} is no classifier, so it has no features; name a classifier.")
        if not network.trained and not (network.keys.weights or network.keys.trained_by) and network.cls.frozen_needs_weights:
            raise GancoreError(
                f"{network.part.where} is frozen in this recipe, so it needs trained weights: "
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
        sampler, where = construct(planned, plan.context), planned.part.where
        for label in sampler.adds:
            _check_side(label, where, (*plan.networks, *plan.heads, *plan.sources, *added))
            added.append(label)
        known = {"joins": tuple(plan.sides), "blends": ("real", *plan.sources, *added)}
        for what, sides in known.items():
            for side in getattr(sampler, what):
                if side not in sides:
                    raise GancoreError(
                        f"{where} {what} the side {side!r}, which is none of {listed(sides)}; change its settings."
                    )
    return tuple(added)


def check_attacked(method: str, needs: Iterable[Need], part: Part, plan: Plan) -> None:
    """Refuse what an attack does not compute: it passes images through its target alone, again and again."""
    assert plan.attack is not None
    target = plan.attack.target
    for need in needs:
        own = need.kind in ("head", "features") if target == DISCRIMINATOR else need.kind == "network" and need.label == target
        if not own and need.kind not in ("batch", "images", "noise", "iteration"):
            raise GancoreError(
                f"{part.where} asks for {need.name!r} in its {method}, which an attack on the {target} does not compute; "
                "it may ask for the target's own outputs, images and labels."
            )


def check_reads(reads: Mapping[str, str], cls: type[LossTerm], methods: Iterable[str], part: Part) -> None:
    """Refuse a `reads` that changes nothing, which is a slip of the pen."""
    parameters = {name for method in methods for name in parameters_of(getattr(cls, method))}
    names = {name for name in parameters if "_" in name}
    named = {name.split("_", 1)[1].removesuffix("_features") for name in names}
    named |= {side for side in SIDES for name in parameters if name == side or name.startswith(f"{side}_")}
    for label in reads:
        if label not in named:
            raise GancoreError(
                f"{part.where}: reads replaces {label!r}, which no parameter of it names{did_you_mean(label, named)} "
                f"(they name: {listed(named)})."
            )


def check_whole(plan: Plan) -> None:
    """Refuse a plan whose components do not belong together."""
    if plan.latent is not None:
        check_latent(plan.latent, (*plan.networks, *plan.heads, *plan.further))
    for player in plan.players:
        if not any(player in term.methods for term in plan.terms.values()):
            raise GancoreError(
                f"{plan.recipe.name}: no loss term trains the {player}; add one under [losses] with a weight other than 0."
            )
    if plan.recipe.ema is not None and GENERATOR not in plan.players:
        raise GancoreError(
            f"{plan.recipe.name}: [ema] averages the generator, but the loop trains {listed(plan.players)}; set ema = false."
        )
    if plan.attack is not None:
        where, target = plan.attack.part.where, plan.attack.target
        attacked = plan_phase(plan, target, plan.terms).attacked
        for side in plan.attack.keys.sides:
            method = attacked_method(side)
            terms = [term for term in plan.terms.values() if target in term.methods]
            if plan.attack.cls.gradient == "own" and not any(method in term.methods for term in terms):
                raise GancoreError(
                    f"{where} has nothing to raise: none of the losses {listed(term.label for term in terms)} says "
                    f"what an attack on {side} images raises ({method})."
                )
            if side not in attacked:
                raise GancoreError(f"{where} has no target: no loss term of the {target} looks at {side} images through it.")
    for sampler in plan.samplers.values():
        of = sampler.keys.of
        if of is None:
            for label in construct(sampler, plan.context).reads():
                if label not in plan.sources:
                    raise GancoreError(
                        f"{sampler.part.where} draws from the source {label!r}, which this recipe does not have "
                        f"(its sources: {listed(plan.sources)}); add [sources.{label}]."
                    )
            continue
        if of not in plan.sources:
            raise GancoreError(
                f"{sampler.part.where}: of = {of!r} names no source of this recipe{did_you_mean(of, plan.sources)} "
                f"(its sources: {listed(plan.sources)}); add [sources.{of}]."
            )
        if sampler.cls.draw is not Sampler.draw or sampler.cls.view is not Sampler.view:
            raise GancoreError(
                f"{sampler.part.where} changes drawn batches, so it can't act on the source {of!r} alone; leave out `of`."
            )
    for label, metric in plan.metrics.items():
        network = getattr(metric.cls, "network", None)
        chosen = metric.settings.get("network", network)
        chosen = _default_network(metric.cls) if chosen is None else chosen
        if chosen is not None and (chosen not in plan.networks or not issubclass(plan.networks[chosen].cls, Classifier)):
            raise GancoreError(
                f"{metric.part.where} reads the network {chosen!r}, which is no classifier of this recipe; "
                f"add [networks.{chosen}] or set metrics.{label}.network."
            )
    fakes = [label for label, metric in plan.metrics.items() if hasattr(metric.cls, "update")]
    if fakes and GENERATOR not in plan.networks:
        raise GancoreError(
            f"{plan.recipe.name}: the metrics {listed(fakes)} score generated images, but there is no generator."
        )


def _default_network(cls: type[Any]) -> str | None:
    default = inspect.signature(cls).parameters.get("network")
    return None if default is None or default.default is inspect.Parameter.empty else default.default
