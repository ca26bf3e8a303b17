"""The plan: a recipe with its components loaded and checked, and what each phase computes, before any tensor exists.

Every conflict surfaces here: a part that asks for a tensor nobody provides, a player without a loss, two attacks, a setting
out of range. `plan_phase` is a pure function of the plan, a player and the active terms; `gancore.phase` executes what it
returns, and ``gancore explain`` prints it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from gancore import components
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.players import check_optimizer
from gancore.recipe import AttackKeys, HeadKeys, NetworkKeys, Part, Recipe, SamplerKeys, TermKeys
from gancore.settings import check

if TYPE_CHECKING:
    from gancore.registry import Registry

GENERATOR = "generator"
DISCRIMINATOR = "discriminator"
BATCH_NAMES = ("z", "real", "real_label", "fake_label")

OWN_KEYS = ("losses", "networks", "heads", "attacks", "samplers")
"""Groups of parts with keys that core handles beside their own settings."""

K = TypeVar("K", TermKeys, NetworkKeys, HeadKeys, AttackKeys, SamplerKeys)
Kind = Literal[
    "batch", "images", "label", "view", "head", "features", "activations", "network", "embedding", "noise", "iteration"
]


@attrs.frozen
class Need:
    """What one parameter of a part's method stands for.

    Attributes:
        name: The parameter.
        kind: Where its value comes from.
        side: ``real``, ``fake``, a further generator's or a source's label, or a term's own extra view (``term:view``).
        label: The head or network that computes it.
    """

    name: str
    kind: Kind
    side: str = ""
    label: str = ""


@attrs.frozen
class Term:
    """A loss term of the recipe, with what its methods ask for.

    Attributes:
        label: Recipe label.
        part: Its place in the recipe.
        cls: Its class.
        keys: The keys that core handles: weight, every, start, stop.
        settings: Its own settings, checked.
        methods: Needs of each method that takes part in this recipe, by method name.
    """

    label: str
    part: Part
    cls: type[components.LossTerm]
    keys: TermKeys
    settings: dict[str, Any]
    methods: dict[str, tuple[Need, ...]]


@attrs.frozen
class Built:
    """A component to build: its class and its own checked settings; the context is added when it is built."""

    part: Part
    cls: type[Any]
    settings: dict[str, Any]


@attrs.frozen
class NetworkPlan:
    """A network to build, with the keys that core handles."""

    part: Part
    cls: type[components.Network]
    settings: dict[str, Any]
    keys: NetworkKeys
    trained: bool


@attrs.frozen
class AttackPlan:
    """The attack to build, with the keys that core handles, and the player that it attacks."""

    part: Part
    cls: type[components.Attack]
    settings: dict[str, Any]
    keys: AttackKeys
    target: str


@attrs.frozen
class HeadPlan:
    """A head to build, with the keys that core handles."""

    part: Part
    cls: type[components.Head]
    settings: dict[str, Any]
    keys: HeadKeys


@attrs.frozen
class SamplerPlan:
    """A sampler to build, with the keys that core handles."""

    part: Part
    cls: type[components.Sampler]
    settings: dict[str, Any]
    keys: SamplerKeys


@attrs.frozen
class SourcePlan:
    """A further stream of images: its data set, and whether that is the recipe's own, as its samplers leave it."""

    part: Part
    dataset: components.Dataset
    shared: bool


@attrs.frozen
class Forward:
    """One forward of the discriminator's backbone.

    Attributes:
        sides: Whose views go through, as one batch.
        grad: Whether the graph is kept.
        heads: For each head, the sides it is evaluated on.
        activations: Whether hidden activations are kept.
    """

    sides: tuple[str, ...]
    grad: bool
    heads: dict[str, tuple[str, ...]]
    activations: bool


@attrs.frozen
class NetworkForward:
    """One forward of a further network on a side's images."""

    network: str
    side: str
    grad: bool
    embedding: bool


@attrs.frozen
class PhasePlan:
    """What one phase of one player computes, in this order.

    Attributes:
        player: Whose turn it is.
        generators: Sides whose images are generated -> whether the graph is kept.
        views: Sides that the discriminator sees.
        leaves: Views that become leaves, because a term or an attack differentiates them.
        forwards: The discriminator's forwards.
        networks: Forwards of further networks.
        terms: Labels of the terms that are summed.
        attacked: Sides whose images the attack perturbs before the player sees them.
    """

    player: str
    generators: dict[str, bool]
    views: tuple[str, ...]
    leaves: frozenset[str]
    forwards: tuple[Forward, ...]
    networks: tuple[NetworkForward, ...]
    terms: tuple[str, ...]
    attacked: tuple[str, ...]


@attrs.frozen
class Plan:
    """A checked recipe.

    Attributes:
        recipe: The recipe.
        registry: Where its components come from.
        dataset: The image set (built; no image is read).
        info: What is known of it.
        networks: All networks.
        heads: The discriminator's heads.
        terms: The loss terms whose weight is not 0.
        samplers: The samplers, in order.
        sources: The further streams of images.
        attack: The attack, if any.
        metrics: The metrics.
        loop: The update rule.
        players: Names of the trained networks, in the loop's order.
        optimizers: For each player: optimizer name, settings, schedule.
    """

    recipe: Recipe
    registry: Registry
    dataset: components.Dataset
    info: components.DatasetInfo
    networks: dict[str, NetworkPlan]
    heads: dict[str, HeadPlan]
    terms: dict[str, Term]
    samplers: dict[str, SamplerPlan]
    sources: dict[str, SourcePlan]
    attack: AttackPlan | None
    metrics: dict[str, Built]
    loop: components.Loop
    players: tuple[str, ...]
    optimizers: dict[str, tuple[str, dict[str, Any], Callable[[int], float]]]

    @property
    def sides(self) -> dict[str, str]:
        """Sides whose images are generated -> the generator's label; the main generator's side is ``fake``."""
        others = {n: n for n, net in self.networks.items() if issubclass(net.cls, components.Generator)}
        return {"fake" if side == GENERATOR else side: label for side, label in others.items()}

    @property
    def stands_on(self) -> str | None:
        """Label of the classifier whose features the discriminator sees, or None where it sees images."""
        return self.networks[DISCRIMINATOR].keys.on if DISCRIMINATOR in self.networks else None

    @property
    def context(self) -> dict[str, Any]:
        """What core knows for constructors before the data are read."""
        settings = self.recipe.run
        return {
            "classes": self.info.classes,
            "channels": self.info.channels,
            "image_size": self.info.image_size,
            "latent_dim": settings.latent_dim,
            "batch_size": settings.batch_size,
            "iterations": settings.iterations,
        }

    def active(self, iteration: int) -> frozenset[str]:
        """Return the labels of the terms that take part in an iteration."""
        return frozenset(label for label, term in self.terms.items() if term.keys.active(iteration))


def parameters_of(method: Callable[..., Any]) -> dict[str, bool]:
    """Return a method's keyword-only parameters -> whether they are required."""
    return {
        p.name: p.default is inspect.Parameter.empty
        for p in inspect.signature(method).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }


def make_plan(recipe: Recipe, registry: Registry) -> Plan:
    """Load the components of a recipe, check everything that can be checked without a tensor, and return the plan.

    Raises:
        GancoreError: With one sentence, for anything that is wrong.
    """
    built = {key: _load(part, registry) for key, part in recipe.parts.items() if part.group not in OWN_KEYS and not part.shared}

    def group(name: str) -> dict[str, Built]:
        return {label: built[name, label] for label in recipe.group(name)}

    dataset: components.Dataset = _construct(built["data", "data"])
    loop: components.Loop = _construct(built["loop", "loop"])
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
    _check_roles(recipe, networks, heads)
    plan = Plan(
        recipe=recipe,
        registry=registry,
        dataset=dataset,
        info=dataset.info,
        networks=networks,
        heads=heads,
        terms={},
        samplers={
            label: SamplerPlan(part, *_split(part, registry, SamplerKeys)) for label, part in recipe.group("samplers").items()
        },
        sources=_load_sources(recipe, built, dataset),
        attack=_load_attack(attacks[0], registry, networks, players) if attacks else None,
        metrics=group("metrics"),
        loop=loop,
        players=players,
        optimizers=_optimizers(recipe, players),
    )
    terms = {label: _load_term(part, plan) for label, part in recipe.group("losses").items()}
    plan = attrs.evolve(plan, terms={label: term for label, term in terms.items() if term.keys.weight != 0})
    _check_whole(plan)
    return plan


def _load(part: Part, registry: Registry) -> Built:
    cls = registry.load(part.declared)
    return Built(part, cls, check(cls, part.settings, where=part.where))


def _load_sources(recipe: Recipe, built: Mapping[tuple[str, str], Built], data: components.Dataset) -> dict[str, SourcePlan]:
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


def _described(info: components.DatasetInfo) -> str:
    kind = "points" if info.continuous else "images"
    return f"{kind} of {info.channels} x {info.image_size} x {info.image_size}"


def construct(built: Built | SamplerPlan | NetworkPlan | HeadPlan | AttackPlan | Term, context: Mapping[str, Any]) -> Any:
    """Build a component from its settings and what core knows.

    Raises:
        GancoreError: A setting is missing, or the constructor refuses its arguments.
    """
    arguments = check(built.cls, built.settings, where=built.part.where, context=context)
    try:
        return built.cls(**arguments)
    except GancoreError as error:
        raise GancoreError(f"{built.part.where}: {error}") from error
    except (ValueError, TypeError) as error:
        raise GancoreError(f"{built.part.where} can't be built: {error}") from error


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
    classifiers = [player for player in players if issubclass(networks[player].cls, components.Classifier)]
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


def attacked_method(side: str) -> str:
    """Return the name of the method by which a loss term says what an attack on a side raises."""
    return "attacked" if side == "real" else f"attacked_{side}"


def _load_network(part: Part, registry: Registry, players: Collection[str]) -> NetworkPlan:
    cls, settings, keys = _split(part, registry, NetworkKeys)
    trained = part.label in players
    if (keys.input_mean is None) != (keys.input_std is None):
        raise GancoreError(f"{part.where} needs both input_mean and input_std, or neither.")
    return NetworkPlan(part, cls, settings, keys, trained)


def _check_roles(recipe: Recipe, networks: Mapping[str, NetworkPlan], heads: Collection[str]) -> None:
    for label, role in ((GENERATOR, components.Generator), (DISCRIMINATOR, components.Discriminator)):
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
        if label in {*networks, *heads, "real", "fake", "negatives", "noise", "iteration", "z"} or "_" in label:
            raise GancoreError(
                f"{source.where}: the label {label!r} is taken, or holds an underscore; the names {label} and {label}_label "
                "shall mean its images alone, so rename the source."
            )
    for label, network in networks.items():
        on = network.keys.on
        if on is not None and (label != DISCRIMINATOR or on not in networks):
            what = f"the network {on!r} is not in the recipe" if label == DISCRIMINATOR else "only a discriminator can"
            raise GancoreError(f"{network.part.where} can't stand on the features of another network: {what}; correct `on`.")
        if on is not None and not issubclass(networks[on].cls, components.Classifier):
            raise GancoreError(f"{network.part.where}: on = {on!r} is no classifier, so it has no features; name a classifier.")
        if not network.trained and not (network.keys.weights or network.keys.trained_by) and network.cls.frozen_needs_weights:
            raise GancoreError(
                f"{network.part.where} is frozen in this recipe, so it needs trained weights: "
                f"set networks.{label}.weights to a safetensors file, or trained_by to a recipe."
            )


def _optimizers(recipe: Recipe, players: tuple[str, ...]) -> dict[str, tuple[str, dict[str, Any], Callable[[int], float]]]:
    for player in recipe.optimizers:
        if player not in players:
            raise GancoreError(
                f"{recipe.name}: optimizers.{player} belongs to no player{did_you_mean(player, players)} "
                f"(the loop trains {listed(players)})."
            )
    context = {"iterations": recipe.run.iterations}
    return {
        player: check_optimizer(recipe.optimizers.get(player, {}), where=f"{recipe.name}: optimizers.{player}", context=context)
        for player in players
    }


def _load_term(part: Part, plan: Plan) -> Term:
    cls, settings, keys = _split(part, plan.registry, TermKeys)
    if keys.stop is not None and keys.stop <= keys.start:
        raise GancoreError(f"{part.where}: stop = {keys.stop} must be above start = {keys.start}.")
    names = [player for player in plan.players if callable(getattr(cls, player, None))]
    if not names:
        sides = [n for n in ("generator", "discriminator", "classifier") if callable(getattr(cls, n, None))]
        raise GancoreError(
            f"{part.where} takes part in no player's loss: it has a loss for {listed(sides)}, "
            f"and the loop trains {listed(plan.players)}."
        )
    wanted = [*names, *cls.extra_views.values()]
    attacked = () if plan.attack is None else tuple(attacked_method(side) for side in plan.attack.keys.sides)
    wanted += [name for name in ("observe", *attacked) if callable(getattr(cls, name, None))]
    methods = {name: _needs(cls, name, part, plan, keys.reads) for name in wanted}
    _check_reads(keys.reads, cls, wanted, part)
    for name in attacked:
        _check_attacked(name, methods.get(name, ()), part, plan)
    views = {f"{side}_view" for side in ("real", *plan.sides, *plan.sources, *cls.extra_views)}
    for view in cls.differentiates:
        if view not in views:
            raise GancoreError(f"{part.where} differentiates {view!r}, which is no view; it may name {listed(views)}.")
    return Term(part.label, part, cls, keys, settings, methods)


def _check_attacked(method: str, needs: Iterable[Need], part: Part, plan: Plan) -> None:
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


def _check_reads(reads: Mapping[str, str], cls: type[components.LossTerm], methods: Iterable[str], part: Part) -> None:
    """Refuse a `reads` that changes nothing, which is a slip of the pen."""
    names = {name for method in methods for name in parameters_of(getattr(cls, method)) if "_" in name}
    named = {name.split("_", 1)[1].removesuffix("_features") for name in names}
    for label in reads:
        if label not in named:
            raise GancoreError(
                f"{part.where}: reads replaces {label!r}, which no parameter of it names{did_you_mean(label, named)} "
                f"(they name: {listed(named)})."
            )


def _needs(cls: type[components.LossTerm], method: str, part: Part, plan: Plan, reads: Mapping[str, str]) -> tuple[Need, ...]:
    needs = []
    for name, required in parameters_of(getattr(cls, method)).items():
        need = resolve(name, plan, part.label, tuple(cls.extra_views), reads)
        if need is not None:
            needs.append(need)
        elif required:
            raise GancoreError(_missing(_read_as(name, reads), method, part, plan, cls))
    return tuple(needs)


def _read_as(name: str, reads: Mapping[str, str]) -> str:
    """Return the name that a parameter would have, had its author named what the recipe reads in its place."""
    side, _, what = name.partition("_")
    network = what.removesuffix("_features")
    return f"{side}_{reads[network]}{what.removeprefix(network)}" if network in reads else name


def resolve(
    name: str, plan: Plan, term: str = "", extra_views: Iterable[str] = (), reads: Mapping[str, str] | None = None
) -> Need | None:
    """Return what a parameter's name stands for in this recipe, or None.

    Args:
        name: The parameter.
        plan: The recipe's plan, with everything but its terms.
        term: Label of the term that asks.
        extra_views: Views of its own.
        reads: Networks and heads that the term names -> those to read in their place.
    """
    reads = reads or {}
    if name in ("noise", "iteration"):
        return Need(name, "noise" if name == "noise" else "iteration")
    if name in BATCH_NAMES and (name.startswith("real") or GENERATOR in plan.networks):
        return Need(name, "images" if name == "real" else "batch", "real" if name == "real" else "")
    if name == "negatives":
        given = any(sampler.cls.gives_negatives for sampler in plan.samplers.values())
        return Need(name, "batch") if given else None
    if name in plan.sides or name in plan.sources:
        return Need(name, "images", name)
    for side in sorted(["real", *plan.sides, *plan.sources, *extra_views], key=len, reverse=True):
        if not name.startswith(f"{side}_"):
            continue
        what = name.removeprefix(f"{side}_")
        owned = side in extra_views
        full = f"{term}:{side}" if owned else side
        if side in plan.sources and what == "label":
            return Need(name, "label", full)
        if DISCRIMINATOR in plan.networks:
            if what in ("view", "features", "activations"):
                kinds: dict[str, Kind] = {"view": "view", "features": "features", "activations": "activations"}
                return Need(name, kinds[what], full)
            if reads.get(what, what) in plan.heads:
                return Need(name, "head", full, reads.get(what, what))
        plain = what.removesuffix("_features")
        network = reads.get(plain, plain)
        found = plan.networks.get(network)
        usable = found is not None and not owned and not issubclass(found.cls, components.Generator | components.Discriminator)
        if found is not None and usable and (what == plain or issubclass(found.cls, components.Classifier)):
            return Need(name, "embedding" if what != plain else "network", full, network)
    return None


def vocabulary(plan: Plan) -> list[str]:
    """Return every name that a part may ask for in this recipe."""
    names = ["iteration", "noise", "real", "real_label"]
    if GENERATOR in plan.networks:
        names += ["z", "fake_label", *plan.sides]
    names += [name for label in plan.sources for name in (label, f"{label}_label")]
    sides = ["real", *plan.sides, *plan.sources]
    if DISCRIMINATOR in plan.networks:
        names += [f"{side}_{what}" for side in sides for what in ("view", "features", "activations", *plan.heads)]
    roles = components.Generator | components.Discriminator
    for label, network in plan.networks.items():
        if not issubclass(network.cls, roles):
            names += [f"{side}_{label}{suffix}" for side in sides for suffix in ("", "_features")]
    return [name for name in names if resolve(name, plan)]


def _missing(name: str, method: str, part: Part, plan: Plan, cls: type[components.LossTerm]) -> str:
    known = [*vocabulary(plan), *(f"{view}_{w}" for view in cls.extra_views for w in ("view", *plan.heads))]
    what = name.split("_", 1)[1] if name.startswith(("real_", "fake_", *cls.extra_views)) and "_" in name else ""
    remedy = f"add [heads.{what}] or [networks.{what}]" if what else "see `gancore explain` for the names it has"
    if "_" in name and not what:
        remedy = f"add a source of images, [sources.{name.split('_', 1)[0]}], if that is what it means, or {remedy}"
    if name == "negatives":
        remedy = "add a sampler that gives negatives"
    elif name.startswith("fake") and GENERATOR not in plan.networks:
        remedy = "it has no generator"
    hint = did_you_mean(name, known)
    return f"{part.where} asks for {name!r} in its {method}, which nothing in this recipe provides: {remedy}{hint}."


def _check_whole(plan: Plan) -> None:
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
        if sampler.cls.draw is not components.Sampler.draw or sampler.cls.view is not components.Sampler.view:
            raise GancoreError(
                f"{sampler.part.where} changes drawn batches, so it can't act on the source {of!r} alone; leave out `of`."
            )
    for label, metric in plan.metrics.items():
        network = getattr(metric.cls, "network", None)
        chosen = metric.settings.get("network", network)
        chosen = _default_network(metric.cls) if chosen is None else chosen
        if chosen is not None and (
            chosen not in plan.networks or not issubclass(plan.networks[chosen].cls, components.Classifier)
        ):
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


def plan_phase(plan: Plan, player: str, active: Collection[str]) -> PhasePlan:
    """Return what one phase computes, for a set of active terms.

    Real and generated images share one forward of the discriminator, unless it has batch statistics, or a term
    differentiates the view (its second-order graph would otherwise span the whole batch), or only one of them needs a graph.
    """
    terms = [plan.terms[label] for label in sorted(active) if player in plan.terms[label].methods]
    attacked: tuple[str, ...] = ()
    needs: list[Need] = []
    differentiated: set[str] = set()
    for term in terms:
        needs += term.methods[player]
        if "observe" in term.methods:
            needs += term.methods["observe"]
        for view in term.cls.differentiates:
            side = view.removesuffix("_view")
            full = f"{term.label}:{side}" if side in term.cls.extra_views else side
            differentiated.add(full)
        for view, method in term.cls.extra_views.items():
            if any(need.side == f"{term.label}:{view}" for need in term.methods[player]):
                needs += term.methods[method]
    through_d = [need for need in needs if need.kind in ("view", "head", "features", "activations")]
    viewed = {need.side for need in through_d}
    differentiated &= viewed
    if plan.attack is not None and player == plan.attack.target:
        looked = viewed | {need.side for need in needs if need.kind in ("network", "embedding") and need.label == player}
        raising = plan.attack.cls.gradient == "shared"
        attacked = tuple(
            side
            for side in plan.attack.keys.sides
            if side in looked and (raising or any(attacked_method(side) in term.methods for term in terms))
        )
        if plan.attack.cls.gradient == "own":
            for term in terms:
                for side in attacked:
                    needs += [need for need in term.methods.get(attacked_method(side), ()) if need.side != side]
            through_d = [need for need in needs if need.kind in ("view", "head", "features", "activations")]
            viewed |= {need.side for need in through_d}
    generators = _generators(plan, player, needs, viewed)
    leaves = frozenset(side for side in differentiated if not generators.get(side, False))
    shared = bool(attacked) and plan.attack is not None and plan.attack.cls.gradient == "shared"
    forwards = _forwards(plan, player, through_d, generators, differentiated, shared)
    return PhasePlan(
        player=player,
        generators=generators,
        views=_ordered(viewed, plan),
        leaves=leaves | ({"real"} if shared and "real" in viewed else frozenset()),
        forwards=forwards,
        networks=_network_forwards(player, needs, generators),
        terms=tuple(term.label for term in terms),
        attacked=attacked,
    )


def _generators(plan: Plan, player: str, needs: Iterable[Need], viewed: Collection[str]) -> dict[str, bool]:
    wanted = {need.side for need in needs if need.side in plan.sides} | {side for side in viewed if side in plan.sides}
    return {side: label == player for side, label in plan.sides.items() if side in wanted}


def _ordered(sides: Collection[str], plan: Plan) -> tuple[str, ...]:
    rank = {side: number for number, side in enumerate(["real", *plan.sides, *plan.sources])}
    return tuple(sorted(sides, key=lambda side: (rank.get(side, len(rank)), side)))


def _forwards(
    plan: Plan,
    player: str,
    needs: Iterable[Need],
    generators: Mapping[str, bool],
    differentiated: Collection[str],
    shared: bool,
) -> tuple[Forward, ...]:
    needs = [need for need in needs if need.kind != "view"]
    groups: dict[tuple[bool, str], list[str]] = {}
    batch_statistics = DISCRIMINATOR in plan.networks and getattr(plan.networks[DISCRIMINATOR].cls, "batch_statistics", False)
    for side in _ordered({need.side for need in needs}, plan):
        # An extra view is made from others, so it carries a graph wherever they do.
        extra = ":" in side
        graph = player in (DISCRIMINATOR, plan.stands_on) or generators.get(side, False) or side in differentiated
        graph = graph or (side == "real" and shared)
        graph = graph or (extra and any(generators.values()))
        alone = side if batch_statistics or side in differentiated else ""
        groups.setdefault((graph, alone), []).append(side)
    forwards = []
    for (grad, _), sides in groups.items():
        heads: dict[str, list[str]] = {}
        for need in needs:
            if need.kind == "head" and need.side in sides and need.side not in heads.setdefault(need.label, []):
                heads[need.label].append(need.side)
        kept = any(need.kind == "activations" and need.side in sides for need in needs)
        forwards.append(Forward(tuple(sides), grad, {h: _ordered(s, plan) for h, s in sorted(heads.items())}, kept))
    return tuple(forwards)


def _network_forwards(player: str, needs: Iterable[Need], generators: Mapping[str, bool]) -> tuple[NetworkForward, ...]:
    needs = list(needs)
    embedded = {(need.label, need.side) for need in needs if need.kind == "embedding"}
    wanted = embedded | {(need.label, need.side) for need in needs if need.kind == "network"}
    return tuple(
        NetworkForward(n, side, grad=n == player or generators.get(side, False), embedding=(n, side) in embedded)
        for n, side in sorted(wanted)
    )
