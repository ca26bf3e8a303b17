"""What a plan is refused for, each with a sentence that says why and what to write instead."""

from __future__ import annotations

import re
from collections.abc import Container

import attrs

from gancore.contract import Classifier, DatasetInfo, Discriminator, Generator, Sampler
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.plan.optimizers import check_optimizer
from gancore.plan.phases import plan_phase
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Plan
from gancore.plan.vocabulary import RESERVED, SEEN, attacked_method


def check_components(plan: Plan) -> None:
    """Refuse components that are not what their place in the recipe takes, and labels that mean something else."""
    _check_roles(plan)
    for label in plan.heads:
        if label in plan.networks or label in (*SEEN, "label"):
            raise GancoreError(
                f"{plan.recipe.name}: the label of heads.{label} is taken by a network or the vocabulary; rename the head."
            )
    for label, source in plan.recipe.group("sources").items():
        _check_side(label, source.where, (*plan.networks, *plan.heads))
    for label in plan.networks:
        _check_network(label, plan)
    for label, images in plan.sources.items():
        _check_source(plan.recipe.entries["sources", label].where, label, images.info, plan.info)
    _check_attack(plan)
    for player, optimizer in plan.optimizers.items():
        check_optimizer(optimizer, plan.factors(f"optimizers.{player}"))
    _check_samplers(plan)
    _check_codes(plan)


def check_whole(plan: Plan) -> None:
    """Refuse a plan whose components do not belong together."""
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
    _check_metrics(plan)


def _check_roles(plan: Plan) -> None:
    """Refuse a recipe without one of the loop's players, and a generator or discriminator that is none."""
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


def _check_network(label: str, plan: Plan) -> None:
    """Refuse a network that stands on what has no features, or that is frozen without weights."""
    networks, network = plan.networks, plan.networks[label]
    where, keys = network.where, network.keys
    if (keys.input_mean is None) != (keys.input_std is None):
        raise GancoreError(f"{where} needs both input_mean and input_std, or neither.")
    if keys.on is not None and (label != DISCRIMINATOR or keys.on not in networks):
        what = f"the network {keys.on!r} is not in the recipe" if label == DISCRIMINATOR else "only a discriminator can"
        raise GancoreError(f"{where} can't stand on the features of another network: {what}; correct `on`.")
    if keys.on is not None and not issubclass(networks[keys.on].cls, Classifier):
        raise GancoreError(f"{where}: on = {keys.on!r} is no classifier, so it has no features; name a classifier.")
    if label not in plan.players and network.cls.frozen_needs_weights and not (keys.weights or keys.trained_by):
        raise GancoreError(
            f"{where} is frozen in this recipe, so it needs trained weights: "
            f"set networks.{label}.weights to a safetensors file, or trained_by to a recipe."
        )


def _check_side(label: str, where: str, taken: Container[str]) -> None:
    if label in taken or label in RESERVED or "_" in label:
        raise GancoreError(
            f"{where}: the label {label!r} is taken, or holds an underscore; the names {label} and {label}_label "
            "shall mean its images alone, so rename that side."
        )


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


def _check_attack(plan: Plan) -> None:
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


def _check_samplers(plan: Plan) -> None:
    """Refuse samplers that say of sides and sources what is not so in this recipe."""
    present = ["real", *plan.sources]
    for label, acting in plan.acting.items():
        where = plan.samplers[label].where
        for side in acting.adds:
            _check_side(side, where, (*plan.networks, *plan.heads, *present))
            present.append(side)
        for what, sides in (("joins", plan.sides), ("blends", present)):
            for side in getattr(acting, what):
                if side not in sides:
                    raise GancoreError(
                        f"{where} {what} the side {side!r}, which is none of {listed(sides)}; change its settings."
                    )
        for source in acting.reads():
            if source not in plan.sources:
                raise GancoreError(
                    f"{where} draws from the source {source!r}, which this recipe does not have "
                    f"(its sources: {listed(plan.sources)}); add [sources.{source}]."
                )
    for sampler in plan.samplers.values():
        of = sampler.keys.of
        if of is not None and of not in plan.sources:
            raise GancoreError(
                f"{sampler.where}: of = {of!r} names no source of this recipe{did_you_mean(of, plan.sources)} "
                f"(its sources: {listed(plan.sources)}); add [sources.{of}]."
            )
        if of is not None and (sampler.cls.draw is not Sampler.draw or sampler.cls.view is not Sampler.view):
            raise GancoreError(
                f"{sampler.where} changes drawn batches, so it can't act on the source {of!r} alone; leave out `of`."
            )


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
    attacked = plan_phase(plan, target, plan.terms).attacked
    for side in plan.attack.keys.sides:
        method = attacked_method(side)
        if plan.attack.cls.gradient == "own" and not any(method in term.methods for term in terms):
            raise GancoreError(
                f"{where} has nothing to raise: none of the losses {listed(term.label for term in terms)} says "
                f"what an attack on {side} images raises ({method})."
            )
        if side not in attacked:
            raise GancoreError(f"{where} has no target: no loss term of the {target} looks at {side} images through it.")


def _check_metrics(plan: Plan) -> None:
    """Refuse metrics that read a network, or score images, which the recipe does not have."""
    for label, metric in plan.metrics.items():
        network = metric.values.get("network", getattr(metric.cls, "network", None))
        if network is not None and (network not in plan.networks or not issubclass(plan.networks[network].cls, Classifier)):
            raise GancoreError(
                f"{metric.where} reads the network {network!r}, which is no classifier of this recipe; "
                f"add [networks.{network}] or set metrics.{label}.network."
            )
    scoring = [label for label, metric in plan.metrics.items() if hasattr(metric.cls, "update")]
    if scoring and GENERATOR not in plan.networks:
        raise GancoreError(
            f"{plan.recipe.name}: the metrics {listed(scoring)} score generated images, but there is no generator."
        )
