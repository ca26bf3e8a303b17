"""``gancore explain``: a plan in words: phases, passes per iteration, parts, versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from gancore_training import aligned, recipe_digest

from gancore import Translator
from gancore.tools import DISCRIMINATOR, GENERATOR, Entry, PhasePlan, Plan, Planned, plan_phase


def explain(plan: Plan) -> str:
    """Return the plan as text."""
    phases = {player: plan_phase(plan, player, plan.terms) for player in plan.players}
    # The order in which an iteration of the usual loop takes them.
    ordered = sorted(phases.values(), key=lambda phase: phase.player == GENERATOR)
    described = [_phase(plan, phase) for phase in ordered]
    return "\n\n".join(map("\n".join, [_head(plan), _components(plan), *described, _counts(plan, phases), _versions(plan)]))


def _head(plan: Plan) -> Iterator[str]:
    run, info = plan.recipe.run, plan.info
    yield f"{plan.recipe.name}  (recipe {recipe_digest(plan.recipe)})"
    if len(plan.recipe.layers) > 1:
        yield f"  layers       {' < '.join(plan.recipe.layers)}"
    if plan.recipe.cites:
        yield f"  papers       {', '.join(plan.recipe.cites)}"
    yield (
        f"  data         {plan.recipe.entries['data', 'data'].declared.full_name}: {info.channels} x {info.image_size} x "
        f"{info.image_size}, {f'{info.classes} classes' if info.classes else f'{info.attributes} attributes'}"
    )
    yield f"  run          {run.iterations} iterations, batch {run.batch_size}, seed {run.seed}, precision {run.precision}"
    yield f"  loop         {plan.recipe.entries['loop', 'loop'].declared.full_name}, players {', '.join(plan.players)}"
    for player, optimizer in plan.optimizers.items():
        yield f"  optimizer    {player}: {_with_settings(optimizer)}"
    for place, schedule in plan.schedules.items():
        yield f"  schedule     {place}: {_with_settings(schedule)}"


def _with_settings(planned: Planned[Any, Any]) -> str:
    return ", ".join([planned.full_name, *(f"{key} {value}" for key, value in planned.settings.items())])


def _components(plan: Plan) -> Iterator[str]:
    rows = []
    for entry, note in _notes(plan):
        place = entry.group if entry.group == entry.label else f"{entry.group}.{entry.label}"
        rows.append((place, entry.declared.full_name, note))
    yield "Parts"
    yield from aligned(rows, indent=2)
    for label in sorted(set(plan.recipe.group("losses")) - set(plan.terms)):
        yield f"  losses.{label} has weight 0: it is left out"


def _notes(plan: Plan) -> Iterator[tuple[Entry, str]]:
    """Yield the components of the recipe, each with what there is to say of it."""
    for label, network in plan.networks.items():
        source = network.keys.weights or (network.keys.trained_by and f"trained first by {network.keys.trained_by}")
        state = "frozen" if label not in plan.players else "trained, starts" if source else "trained"
        yield network.entry, f"{state}, {source}" if source else state
    if plan.latent is not None:
        yield plan.latent.entry, ""
    yield from ((head.entry, "") for head in plan.heads.values())
    for stream in plan.recipe.group("sources").values():
        yield stream, "the data, as its samplers leave them" if stream.shared else "a further data set"
    for sampler in plan.samplers.values():
        yield sampler.entry, "" if sampler.keys.of is None else f"selects from the source {sampler.keys.of}"
    for term in plan.terms.values():
        players = ", ".join(player for player in plan.players if player in term.methods)
        when = "" if term.keys.every == 1 else f", every {term.keys.every} iterations"
        yield term.entry, f"weight {term.keys.weight:g} in the loss of: {players}{when}"
    if plan.attack is not None:
        yield plan.attack.entry, f"gradient {plan.attack.cls.gradient}"
    yield from ((metric.entry, "") for metric in plan.metrics.values())


def _phase(plan: Plan, phase: PhasePlan) -> Iterator[str]:
    yield f"Phase of the {phase.player}"
    for side, grad in phase.generators.items():
        inputs = "z, label, images of real" if issubclass(plan.networks[plan.sides[side]].cls, Translator) else "z, label"
        yield f"  {side} = {plan.sides[side]}({inputs}){_graph(grad)}"
    for side in phase.attacked:
        assert plan.attack is not None
        yield f"  {side} is perturbed by attacks.{plan.attack.label}"
    if plan.stands_on is not None and phase.views:
        images = [side for side in phase.views if ":" not in side]
        yield f"  D sees the features of {plan.stands_on}({', '.join(images)})"
    for forward in phase.forwards:
        outputs = ", ".join(f"{side}_{head}" for head, sides in forward.heads.items() for side in sides)
        kind = "one forward" if len(forward.sides) == 1 else "one joined forward"
        yield f"  D({' + '.join(forward.sides)}): {kind}{_graph(forward.grad)} -> {outputs}"
    for network in phase.networks:
        yield f"  {network.network}({network.side}){_graph(network.grad)} -> {network.side}_{network.network}"
    for label in phase.terms:
        term = plan.terms[label]
        names = ", ".join(need.name for need in term.methods[phase.player])
        reads = " and ".join(f"{name} is {meant}" for name, meant in term.keys.reads.items())
        second = ", second-order gradient" if term.cls.differentiates else ""
        yield f"  + {term.keys.weight:g} * {label}({names}){reads and f', where {reads}'}{second}"
    yield f"  one backward, one step of {plan.optimizers[phase.player].full_name}"


def _graph(grad: bool) -> str:
    return "" if grad else ", without graph"


class _Tally:
    """Stands in for a run, and counts what the phases that a loop asks for compute."""

    # What loops read of a run before they ask for phases.
    iteration = 0
    networks: ClassVar[dict[str, Any]] = {}

    def __init__(self, plan: Plan, phases: Mapping[str, PhasePlan]) -> None:
        self.plan = plan
        self.phases = phases
        self.blended = {side for sampler in plan.acting.values() for side in sampler.blends}
        self.generated: set[tuple[str, object]] = set()
        self.forwards: Counter[str] = Counter()
        self.backwards: Counter[str] = Counter()
        self.attacks = 0

    def fresh(self) -> object:
        return object()

    def renew(self, _batch: object, _number: int | None = None) -> object:
        return object()

    def phase(self, player: str, batch: object, pieces: int = 1) -> None:
        phase = self.phases[player]
        self.backwards[player] += pieces
        self.attacks += pieces * bool(phase.attacked)
        for side, grad in phase.generators.items():
            # Images without a graph are made once for a batch, however often it is replayed.
            self.forwards[self.plan.sides[side]] += pieces * grad or (side, batch) not in self.generated
            if not grad:
                self.generated.add((side, batch))
        self.forwards[DISCRIMINATOR] += pieces * len(phase.forwards)
        for network in phase.networks:
            self.forwards[network.network] += pieces
        if self.plan.stands_on is not None:
            # A blend's other images go through the classifier too.
            seen = sum((":" not in side) + (side in self.blended) for side in phase.views)
            self.forwards[self.plan.stands_on] += pieces * seen


def _counts(plan: Plan, phases: Mapping[str, PhasePlan]) -> Iterator[str]:
    tally: Any = _Tally(plan, phases)
    note = ""
    try:
        plan.loop.build(plan.context).iteration(tally)
    except Exception:  # a loop may ask more of a run than a stand-in has
        tally, note = _Tally(plan, phases), " (with each phase once; the loop may repeat them)"
        for player in plan.players:
            tally.phase(player, tally.fresh())
    yield f"Per iteration{note}"
    yield "  forwards     " + ", ".join(f"{name} {count}" for name, count in sorted(tally.forwards.items()) if count)
    yield "  backwards    " + ", ".join(f"{player} {number}" for player, number in tally.backwards.items())
    if plan.attack is not None:
        extra = "at no cost" if plan.attack.cls.gradient == "shared" else "with passes of its own beside these"
        yield f"  attacks      {tally.attacks}, {extra}"
    yield "  collectives  under torchrun one flat all-reduce per backward, and one each way for each batch norm"


def _versions(plan: Plan) -> Iterator[str]:
    yield "Plugins"
    for name, version in plan.registry.plugin_versions(plan.recipe.plugins).items():
        yield f"  {name:12} {version}"
