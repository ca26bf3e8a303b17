"""What a plan is refused for, each with a sentence that says why and what to write instead.

A check yields sentences. The first one is raised, so a check may rely on those before it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Container, Iterable, Iterator
from typing import Any

import attrs

from gancore.contract import Classifier, DatasetInfo, Discriminator, Generator, Sampler, settings_of
from gancore.errors import did_you_mean, listed
from gancore.plan.groups import of_groups
from gancore.plan.phases import plan_phase
from gancore.plan.plan import DISCRIMINATOR, GENERATOR, Plan, Planned, scheduled_numbers
from gancore.plan.vocabulary import RESERVED, SCORED, SEEN, attacked_method, parameters_of


def of_components(plan: Plan) -> Iterator[str]:
    """Yield which components are not what their place in the recipe takes, and which labels mean something else."""
    yield from _roles(plan)
    yield from _attributes(plan)
    for label in plan.heads:
        if label in plan.networks or label in (*SEEN, "label"):
            yield f"{plan.recipe.name}: the label of heads.{label} is taken by a network or the vocabulary; rename the head."
    for label, source in plan.recipe.group("sources").items():
        yield from _side(label, source.where, (*plan.networks, *plan.heads))
    for label in plan.networks:
        yield from _network(label, plan)
    for label, images in plan.sources.items():
        yield from _source(plan.recipe.entries["sources", label].where, label, images.info, plan.info)
    yield from _attack(plan)
    for player, optimizer in plan.optimizers.items():
        yield from _optimizer(optimizer, plan.factors(f"optimizers.{player}"))
    yield from _samplers(plan)
    yield from _selecting(plan)
    yield from _codes(plan)


def of_whole(plan: Plan) -> Iterator[str]:
    """Yield what does not belong together in a plan with its terms."""
    for player in plan.players:
        if not any(player in term.methods for term in plan.terms.values()):
            yield f"{plan.recipe.name}: no loss term trains the {player}; add one under [losses] with a weight other than 0."
    if plan.recipe.ema is not None and GENERATOR not in plan.players:
        yield f"{plan.recipe.name}: [ema] averages the generator, but the loop trains {listed(plan.players)}; set ema = false."
    yield from _raised(plan)
    yield from _metrics(plan)
    yield from _attributes(plan)
    yield from of_groups(plan)


def _roles(plan: Plan) -> Iterator[str]:
    """Each player is there, and generators and discriminators are such."""
    recipe, networks = plan.recipe, plan.networks
    for player in recipe.group("optimizers"):
        if player not in plan.players:
            yield (
                f"{recipe.name}: optimizers.{player} belongs to no player{did_you_mean(player, plan.players)} "
                f"(the loop trains {listed(plan.players)})."
            )
    for player in plan.players:
        if player not in networks:
            loop = recipe.entries["loop", "loop"].declared.full_name
            yield (
                f"{recipe.name}: the loop {loop} trains {listed(plan.players)}, but the recipe has no [networks.{player}]; "
                "add it, or layer this fragment over a whole recipe with --with."
            )
    for label, role in ((GENERATOR, Generator), (DISCRIMINATOR, Discriminator)):
        if label in networks and not issubclass(networks[label].cls, role):
            yield f"{networks[label].where} is no {label}; choose one of `gancore components network`."
    if plan.heads and DISCRIMINATOR not in networks:
        yield f"{recipe.name} has heads but no [networks.discriminator] that could carry them; add one."


def _network(label: str, plan: Plan) -> Iterator[str]:
    """A network stands on what has features, if on any, and a frozen one has weights."""
    networks, where, keys = plan.networks, plan.networks[label].where, plan.networks[label].keys
    if (keys.input_mean is None) != (keys.input_std is None):
        yield f"{where} needs both input_mean and input_std, or neither."
    if keys.on is not None and (label != DISCRIMINATOR or keys.on not in networks):
        what = f"the network {keys.on!r} is not in the recipe" if label == DISCRIMINATOR else "only a discriminator can"
        yield f"{where} can't stand on the features of another network: {what}; correct `on`."
    if keys.on is not None and not issubclass(networks[keys.on].cls, Classifier):
        yield f"{where}: on = {keys.on!r} is no classifier, so it has no features; name a classifier."
    if label not in plan.players and networks[label].cls.frozen_needs_weights and not (keys.weights or keys.trained_by):
        yield (
            f"{where} is frozen in this recipe, so it needs trained weights: "
            f"set networks.{label}.weights to a safetensors file, or trained_by to a recipe."
        )


def _side(label: str, where: str, taken: Container[str]) -> Iterator[str]:
    """The label of a side means nothing else."""
    if label in taken or label in RESERVED or "_" in label:
        yield (
            f"{where}: the label {label!r} is taken, or holds an underscore; the names {label} and {label}_label "
            "shall mean its images alone, so rename that side."
        )


def _source(where: str, label: str, info: DatasetInfo, data: DatasetInfo) -> Iterator[str]:
    """The networks are made for the images of a further stream too."""
    if (info.channels, info.image_size, info.continuous) != (data.channels, data.image_size, data.continuous):
        resized = attrs.evolve(info, image_size=data.image_size)
        remedy = f", or set sources.{label}.image_size" if _shape(resized) == _shape(data) else ""
        yield f"{where} has {_shape(info)}, and the data have {_shape(data)}; choose a set of the same shape{remedy}."
    if info.attributes != data.attributes:
        yield f"{where} has {info.attributes} attributes, and the data have {data.attributes}; choose a set of the same labels."
    if info.classes > data.classes:
        yield (
            f"{where} has {info.classes} classes, and the data have {data.classes}, which the networks are made for; "
            "choose a set with no more classes."
        )


def _shape(info: DatasetInfo) -> str:
    kind = "points" if info.continuous else "images"
    return f"{kind} of {info.channels} x {info.image_size} x {info.image_size}"


def _attack(plan: Plan) -> Iterator[str]:
    """There is one attack at most, and a player that it can attack."""
    if plan.attack is None:
        return
    attacks = plan.recipe.group("attacks").values()
    if len(attacks) > 1:
        names = " and ".join(f"attacks.{attack.label} ({attack.declared.full_name})" for attack in attacks)
        yield f"{plan.recipe.name}: a recipe takes one attack, but {names} are given; switch one off with `= false`."
    where, sides, gradient = plan.attack.where, plan.attack.keys.sides, plan.attack.cls.gradient
    if plan.target is None:
        yield f"{where} attacks the discriminator or a classifier, but the loop trains {listed(plan.players)}; switch it off."
    if gradient == "logits":
        yield f"{where} needs a classifier's logits, so it attacks in evaluation only: see `gancore attack`."
    if gradient not in ("own", "shared"):
        yield f"{where} declares gradient = {gradient!r}; it must be 'own', 'shared' or 'logits'."
    if not sides or (gradient == "shared" and sides != ["real"]):
        yield f'{where}: sides = {sides} can\'t be; an attack of gradient "shared" takes ["real"], others one or more.'


def _optimizer(optimizer: Planned[Any, None], scheduled: Iterable[str]) -> Iterator[str]:
    """One backward a turn can feed an optimizer, and it has the numbers that are scheduled."""
    step = getattr(optimizer.cls, "step", None)
    closure = None if step is None else inspect.signature(step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        yield (
            f"{optimizer.where} computes the loss several times in a step (a closure), and a turn computes it once; "
            "choose another."
        )
    if optimizer.full_name == "torch/SparseAdam":
        yield f"{optimizer.where} takes sparse gradients alone, and gancore's are dense; choose another, e.g. torch/Adam."
    numbers = scheduled_numbers(optimizer.values)
    for name in scheduled:
        if name not in numbers:
            yield (
                f"{optimizer.where} has no number {name!r} that a schedule could multiply{did_you_mean(name, numbers)} "
                f"(those that are not 0: {listed(numbers)})."
            )


def _samplers(plan: Plan) -> Iterator[str]:
    """What samplers do to drawn batches is about sides and sources of this recipe, whose labels mean nothing else."""
    sides = ["real", *plan.sources]
    for side in plan.loop.cls.adds:
        yield from _side(side, plan.loop.where, (*plan.networks, *plan.heads, *sides))
        sides.append(side)
    for label, acting in plan.acting.items():
        where = plan.samplers[label].where
        for side in acting.adds:
            yield from _side(side, where, (*plan.networks, *plan.heads, *sides))
            sides.append(side)
        for what, known in (("joins", plan.sides), ("blends", sides)):
            for side in getattr(acting, what):
                if side not in known:
                    why = f"none of {listed(known)}" if known else "not there without a generator"
                    yield f"{where} {what} the side {side!r}, which is {why}; change its settings."
        for source in acting.reads():
            if source not in plan.sources:
                yield (
                    f"{where} draws from the source {source!r}, which this recipe does not have "
                    f"(its sources: {listed(plan.sources)}); add [sources.{source}]."
                )
        for planned in plan.batch_statistics if acting.joins else ():
            yield (
                f"{planned.where} looks at its whole batch, and {where} joins images to generated ones in the discriminator's "
                "turn alone, so that no batch of the generator's is like those; leave one of them out, or weight two losses, "
                "one of which reads the further images as fake."
            )


def _selecting(plan: Plan) -> Iterator[str]:
    """A sampler of one source alone has that source, and does no more than to select from it."""
    for sampler in plan.samplers.values():
        of = sampler.keys.of
        if of is not None and of not in plan.sources:
            yield (
                f"{sampler.where}: of = {of!r} names no source of this recipe{did_you_mean(of, plan.sources)} "
                f"(its sources: {listed(plan.sources)}); add [sources.{of}]."
            )
        if of is not None and any(getattr(sampler.cls, f) is not getattr(Sampler, f) for f in ("draw", "view", "grouping")):
            yield f"{sampler.where} changes drawn batches, so it can't act on the source {of!r} alone; leave out `of`."


def _attributes(plan: Plan) -> Iterator[str]:
    """An image has a class, or attributes; where it has these, nothing needs its class and takes no attributes."""
    if bool(plan.info.classes) == bool(plan.info.attributes):
        yield f"{plan.recipe.entries['data', 'data'].where} must have classes or attributes, and not both; correct its `info`."
    tables = (plan.networks, plan.heads, plan.samplers, plan.terms, plan.metrics, {"": plan.latent}, {"": plan.attack})
    for component in (each for table in tables for each in table.values() if each is not None and plan.info.attributes):
        cls, settings = component.cls, settings_of(component.cls).keys()
        chooses = component.entry.group == "samplers" and cls.selects()
        methods = [parameters_of(getattr(cls, name)) for name in ("update", "update_real") if hasattr(cls, name)]
        labels = {need.name for needs in component.methods.values() for need in needs}.union(*methods)
        needs = chooses or any(name == "labels" or name.endswith("_label") for name in labels)
        if "attributes" not in settings and (needs or {"classes", "class_counts"} & (settings - component.settings.keys())):
            yield (
                f"{component.where} needs the class of each image, and the data have {plan.info.attributes} attributes in its "
                "place; choose one that takes attributes, or data with classes."
            )


def _codes(plan: Plan) -> Iterator[str]:
    """The latent reads a frozen network, if any, and the names of its codes mean nothing else."""
    network = None if plan.latent is None else plan.latent.values.get("network", getattr(plan.latent.cls, "network", None))
    if plan.latent is not None and network is not None and network not in plan.networks.keys() - {*plan.players}:
        yield f"{plan.latent.where} reads the network {network!r}, which is no frozen one; add [networks.{network}]."
    for name in plan.codes:
        taken = {*RESERVED, *SCORED, *plan.networks, *plan.heads, *plan.further}
        if plan.latent is not None and (name in taken or not re.fullmatch(r"[a-z][a-z0-9]*", name)):
            yield (
                f"{plan.latent.where} has a code called {name!r}, a name that is taken here or not of lower-case letters and "
                "digits; rename what the recipe calls so, or the code."
            )


def _raised(plan: Plan) -> Iterator[str]:
    """Of each side that is attacked, a term looks at the images and says what to raise."""
    if plan.attack is None or plan.target is None:
        return
    where, target = plan.attack.where, plan.target
    terms = [term for term in plan.terms.values() if target in term.methods]
    attacked = plan_phase(plan, target, plan.terms).attacked
    for side in plan.attack.keys.sides:
        method = attacked_method(side)
        if plan.attack.cls.gradient == "own" and not any(method in term.methods for term in terms):
            yield (
                f"{where} has nothing to raise: none of the losses {listed(term.label for term in terms)} says "
                f"what an attack on {side} images raises ({method})."
            )
        if side not in attacked:
            yield f"{where} has no target: no loss term of the {target} looks at {side} images through it."


def _metrics(plan: Plan) -> Iterator[str]:
    """A metric has the network that it reads, and the generator whose images it scores."""
    for label, metric in plan.metrics.items():
        network = metric.values.get("network", getattr(metric.cls, "network", None))
        if network is not None and (network not in plan.networks or not issubclass(plan.networks[network].cls, Classifier)):
            yield (
                f"{metric.where} reads the network {network!r}, which is no classifier of this recipe; "
                f"add [networks.{network}] or set metrics.{label}.network."
            )
        for method, names in (("update_real", SCORED), ("update", (*SCORED, "z", *plan.codes))):
            asked = parameters_of(getattr(metric.cls, method)) if hasattr(metric.cls, method) else {}
            for name in (name for name, required in asked.items() if required and name not in names):
                yield f"{metric.where} asks for {name!r} in its {method}, where this recipe has {listed(names)}; leave it out."
    scoring = [label for label, metric in plan.metrics.items() if hasattr(metric.cls, "update")]
    if scoring and GENERATOR not in plan.networks:
        yield f"{plan.recipe.name}: the metrics {listed(scoring)} score generated images, but there is no generator."
