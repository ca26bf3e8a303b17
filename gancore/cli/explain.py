"""``gancore explain``: a plan in words: phases, passes per iteration, parts, versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, cast

from gancore.contract import Translator
from gancore.plan import DISCRIMINATOR, GENERATOR, PhasePlan, Plan, Planned, plan_phase

if TYPE_CHECKING:
    from gancore.engine import Run


def explain(plan: Plan) -> str:
    """Return the plan as text."""
    return "\n".join([*_head(plan), "", *_parts(plan), "", *_phases(plan), *_counts(plan), "", *_versions(plan)])


def _head(plan: Plan) -> Iterator[str]:
    run, info = plan.recipe.run, plan.info
    yield f"{plan.recipe.name}  (recipe {plan.recipe.digest})"
    if len(plan.recipe.layers) > 1:
        yield f"  layers       {' < '.join(plan.recipe.layers)}"
    yield (
        f"  data         {plan.recipe.entries['data', 'data'].declared.full_name}: {info.channels} x {info.image_size} x "
        f"{info.image_size}, {info.classes} classes"
    )
    yield f"  run          {run.iterations} iterations, batch {run.batch_size}, seed {run.seed}, precision {run.precision}"
    yield f"  loop         {plan.recipe.entries['loop', 'loop'].declared.full_name}, players {', '.join(plan.players)}"
    for player, optimizer in plan.optimizers.items():
        yield f"  optimizer    {player}: {_with_settings(optimizer)}"
    for place, schedule in plan.schedules.items():
        yield f"  schedule     {place}: {_with_settings(schedule)}"


def _with_settings(planned: Planned[Any, Any]) -> str:
    return ", ".join([planned.full_name, *(f"{key} {value}" for key, value in planned.settings.items())])


def _parts(plan: Plan) -> Iterator[str]:
    rows = []
    for label, network in plan.networks.items():
        keys = network.keys
        source = keys.weights or (keys.trained_by and f"trained first by {keys.trained_by}")
        state = "frozen" if label not in plan.players else "trained, starts" if source else "trained"
        state += f", {source}" if source else ""
        rows.append((f"networks.{label}", network.full_name, state))
    if plan.latent is not None:
        rows.append(("latent", plan.latent.full_name, ""))
    for label, head in plan.heads.items():
        rows.append((f"heads.{label}", head.full_name, ""))
    for label, stream in plan.recipe.group("sources").items():
        note = "the data, as its samplers leave them" if stream.shared else "a further data set"
        rows.append((f"sources.{label}", stream.declared.full_name, note))
    for label, sampler in plan.samplers.items():
        note = "" if sampler.keys.of is None else f"selects from the source {sampler.keys.of}"
        rows.append((f"samplers.{label}", sampler.full_name, note))
    for label, term in plan.terms.items():
        sides = ", ".join(player for player in plan.players if player in term.methods)
        when = "" if term.keys.every == 1 else f", every {term.keys.every} iterations"
        rows.append((f"losses.{label}", term.full_name, f"weight {term.keys.weight:g} in the loss of: {sides}{when}"))
    if plan.attack is not None:
        rows.append((f"attacks.{plan.attack.label}", plan.attack.full_name, f"gradient {plan.attack.cls.gradient}"))
    for label, metric in plan.metrics.items():
        rows.append((f"metrics.{label}", metric.full_name, ""))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    yield "Parts"
    for label, name, note in rows:
        yield f"  {label:{widths[0]}}  {name:{widths[1]}}  {note}".rstrip()
    for label in sorted(set(plan.recipe.group("losses")) - set(plan.terms)):
        yield f"  losses.{label} has weight 0: it is left out"


def _phases(plan: Plan) -> Iterator[str]:
    # The order in which an iteration of the usual loop takes them.
    for player in sorted(plan.players, key=lambda name: name == GENERATOR):
        yield from _phase(plan, plan_phase(plan, player, plan.terms))
        yield ""


def _phase(plan: Plan, phase: PhasePlan) -> Iterator[str]:
    yield f"Phase of the {phase.player}"
    for side, grad in phase.generators.items():
        inputs = "z, label, images of real" if issubclass(plan.networks[plan.sides[side]].cls, Translator) else "z, label"
        yield f"  {side} = {plan.sides[side]}({inputs}){'' if grad else ', without graph'}"
    for side in phase.attacked:
        assert plan.attack is not None
        yield f"  {side} is perturbed by attacks.{plan.attack.label}"
    if plan.stands_on is not None and phase.views:
        images = [side for side in phase.views if ":" not in side]
        yield f"  D sees the features of {plan.stands_on}({', '.join(images)})"
    for forward in phase.forwards:
        note = "" if forward.grad else ", without graph"
        outputs = ", ".join(f"{side}_{head}" for head, sides in forward.heads.items() for side in sides)
        kind = "one forward" if len(forward.sides) == 1 else "one joined forward"
        yield f"  D({' + '.join(forward.sides)}): {kind}{note} -> {outputs}"
    for network in phase.networks:
        note = "" if network.grad else ", without graph"
        yield f"  {network.network}({network.side}){note} -> {network.side}_{network.network}"
    for label in phase.terms:
        term = plan.terms[label]
        names = ", ".join(need.name for need in term.methods[phase.player])
        second = ", second-order gradient" if term.cls.differentiates else ""
        yield f"  + {term.keys.weight:g} * {label}({names}){second}"
    yield f"  one backward, one step of {plan.optimizers[phase.player].full_name}"


class _Recorder:
    """Stands in for a run, and writes down which phases a loop asks for, on which batch."""

    iteration = 0
    networks: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.batches = 0
        self.phases: list[tuple[str, int]] = []

    def fresh(self) -> int:
        self.batches += 1
        return self.batches

    def renew(self, _batch: int) -> int:
        return self.fresh()

    def phase(self, player: str, batch: int) -> None:
        self.phases.append((player, batch))


def _turns(plan: Plan) -> tuple[list[tuple[str, int]], str]:
    """Return the phases of an iteration, each with a number for its batch, and a note where they are not known."""
    recorder = _Recorder()
    try:
        plan.loop.iteration(cast("Run", recorder))
    except Exception:  # a loop may ask more of a run than a stand-in has
        return [
            (player, number) for number, player in enumerate(plan.players)
        ], " (with each phase once; the loop may repeat them)"
    return recorder.phases, ""


def _counts(plan: Plan) -> Iterator[str]:
    turns, note = _turns(plan)
    phases = {player: plan_phase(plan, player, plan.terms) for player in plan.players}
    forwards: Counter[str] = Counter()
    backwards: Counter[str] = Counter()
    attacked = 0
    replayed = set()
    samplers = [sampler.build(plan.context) for sampler in plan.samplers.values() if sampler.keys.of is None]
    blended = {side for sampler in samplers for side in sampler.blends}
    for player, batch in turns:
        phase = phases[player]
        backwards[player] += 1
        attacked += bool(phase.attacked)
        for side, grad in phase.generators.items():
            # Images without a graph are made once for a batch, however often it is replayed.
            if grad or (side, batch) not in replayed:
                forwards[plan.sides[side]] += 1
            if not grad:
                replayed.add((side, batch))
        forwards[DISCRIMINATOR] += len(phase.forwards)
        for network in phase.networks:
            forwards[network.network] += 1
        if plan.stands_on is not None:
            # A blend's other images go through the classifier too.
            forwards[plan.stands_on] += sum((":" not in side) + (side in blended) for side in phase.views)
    yield f"Per iteration{note}"
    yield "  forwards     " + ", ".join(f"{name} {count}" for name, count in sorted(forwards.items()) if count)
    yield "  backwards    " + ", ".join(f"{player} {number}" for player, number in backwards.items())
    if plan.attack is not None:
        extra = "at no cost" if plan.attack.cls.gradient == "shared" else "with passes of its own beside these"
        yield f"  attacks      {attacked}, {extra}"
    yield "  collectives  under torchrun one flat all-reduce per backward, and one each way for each batch norm"


def _versions(plan: Plan) -> Iterator[str]:
    yield "Plugins"
    for name, version in plan.registry.plugin_versions(plan.recipe.plugins).items():
        yield f"  {name:12} {version}"
