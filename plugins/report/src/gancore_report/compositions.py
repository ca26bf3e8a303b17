"""Compositions: every pair of fragments over one recipe, trained, refused, or broken, with its score beside each alone."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import attrs
import torch
from gancore_training import Progress

from gancore import GancoreError, __version__
from gancore.tools import Plan, Registry, processor, read, read_layer, toml
from gancore_report.formats import full
from gancore_report.paths import write_whole
from gancore_report.scores import MISSING, Column, mean_and_deviation
from gancore_report.states import State, began_and_failed, refuse_unfinished
from gancore_report.tables import markdown, unmarked
from gancore_report.trials import (
    Trial,
    Work,
    check_place,
    checked_plan,
    last_values,
    scored_plan,
    states_of,
    train_pending,
    try_again,
)

METHOD = frozenset({"losses", "attacks", "loop", "heads", "optimizers", "sources", "samplers", "latent"})
"""Tables that change how a recipe trains; a fragment without them changes only what is scored or which networks there are."""


@attrs.define
class Composition:
    """Some fragments over the recipe, and what came of it.

    Attributes:
        fragments: None for the recipe itself, one, or two.
        refused: The sentence that refuses them; empty where they train.
        broken: What a training that was not refused ended with; empty where it ended well.
        waiting: Whether it is not trained yet with some seed.
        values: Last values of the score, one a seed.
    """

    fragments: tuple[str, ...]
    refused: str = ""
    broken: str = ""
    waiting: bool = False
    values: list[float] = attrs.field(factory=list)

    @property
    def name(self) -> str:
        """Its row, and the name of its folders."""
        return " + ".join(self.fragments) or "the recipe alone"

    @property
    def outcome(self) -> str:
        """``trained``, ``refused``, ``broken``, or ``waiting``."""
        return "refused" if self.refused else "broken" if self.broken else "waiting" if self.waiting else "trained"


@attrs.frozen
class Compositions:
    """All compositions over one recipe.

    Attributes:
        title: The recipe, its length and the seeds.
        score: The score that is shown; None where nothing was scored.
        all: The recipe alone, then each fragment alone, then each pair.
    """

    title: str
    score: Column | None
    all: Sequence[Composition]

    @property
    def broken(self) -> list[Composition]:
        """What was accepted and failed."""
        return [each for each in self.all if each.broken]

    def number(self, outcome: str) -> int:
        """Return how many pairs have an outcome."""
        return sum(len(each.fragments) == 2 and each.outcome == outcome for each in self.all)

    def markdown(self) -> str:
        """Return the tables in Markdown: each fragment alone, the pairs that train, and those that don't, with the reason."""
        alone = {each.fragments: each for each in self.all}
        pairs = [each for each in self.all if len(each.fragments) == 2]
        one = [[each.name, each.outcome, _shown(each), each.refused or each.broken] for each in self.all if each not in pairs]
        two = [
            [*each.fragments, _shown(each), *(_shown(alone[(name,)]) for name in each.fragments)]
            for each in pairs
            if each.outcome == "trained"
        ]
        rest = [[*each.fragments, each.outcome, each.refused or each.broken] for each in pairs if each.outcome != "trained"]
        counts = ", ".join(f"{self.number(outcome)} {outcome}" for outcome in ("trained", "refused", "broken"))
        protocol = f"Score: {self.score.title} (protocol {self.score.id})." if self.score else "Nothing was scored."
        machine = f"{processor()}; Python {platform.python_version()}, torch {torch.__version__}, gancore {__version__}."
        lines = [unmarked(f"{self.title}. {protocol} {machine}"), "", f"{len(pairs)} pairs: {counts}.", ""]
        lines += ["## Alone", "", *markdown(["fragment", "outcome", "score", "why"], one, words=True), ""]
        lines += ["## Pairs", "", *markdown(["first", "second", "both", "first alone", "second alone"], two, words=True)]
        lines += (
            ["", "## Pairs that don't train", "", *markdown(["first", "second", "outcome", "why"], rest, words=True)]
            if rest
            else []
        )
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """Return everything as JSON."""
        return json.dumps([{**attrs.asdict(each, filter=_told), "outcome": each.outcome} for each in self.all], indent=2) + "\n"


_Planned = tuple[Composition, Plan, Trial]


def method_fragments(registry: Registry) -> list[str]:
    """Return the installed fragments that hold a method: those that stand over another recipe and change how it trains."""
    names = []
    for name, path in registry.recipes().items():
        table = toml.read(path)
        stands_over_another = not table.keys() & {"extends", "data"} and str(table.get("summary", "")).startswith("Fragment")
        if stands_over_another and table.keys() & METHOD:
            names.append(name)
    return sorted(names)


def compose(
    base: str,
    registry: Registry,
    out: Path,
    *,
    overlays: Sequence[str] = (),
    assignments: Sequence[str] = (),
    fragments: Sequence[str] = (),
    score: str = "",
    seeds: int = 3,
    device: torch.device,
    progress: Progress | None = None,
    work: Work | None = None,
    retry: bool = False,
) -> Compositions:
    """Train a recipe alone, with each of some fragments, and with each pair of them, and return and write the tables.

    A pair that is refused before its first step is so, with the sentence that a user would get; one that begins and fails is
    broken, which is a fault of gancore or of a plugin. Finished runs in `out` are not repeated; several of these may work on
    one folder, each takes runs that no other has.

    Args:
        base: Name of the recipe, which names its metrics.
        registry: The installed plugins.
        out: Where the runs go, and ``compositions.md`` and ``compositions.json``.
        overlays: Recipes layered over it in all compositions.
        assignments: ``KEY=VALUE`` texts for all compositions.
        fragments: Names of the fragments; by default all that `method_fragments` returns.
        score: The score to show, e.g. ``fid/fid``; by default the first.
        seeds: Number of seeds; the first is the recipe's.
        device: Where to compute.
        progress: Whom to tell.
        work: Trains the runs that wait, or has them trained; by default they are trained here.
        retry: Try again what has failed.

    Raises:
        Unfinished: Some runs are neither trained nor failed: other processes have them, or will.
        GancoreError: Anything wrong with recipe, fragments or folder.
        Interrupted: A signal came; the state is saved, and the same call goes on.
    """
    progress = progress or Progress()
    check_place("a table of compositions", out, seeds)
    recipe = scored_plan(read(base, registry, overlays=overlays, assignments=assignments), registry).recipe
    names = [*dict.fromkeys(fragments)] or method_fragments(registry)
    for name in names:
        read_layer(name, registry)
    groups = ((), *((name,) for name in names), *combinations(names, 2))
    compositions, trials = [Composition(group) for group in groups], list[_Planned]()
    for each in compositions:
        try:
            plan = checked_plan(read(base, registry, overlays=[*overlays, *each.fragments], assignments=assignments), registry)
        except GancoreError as error:
            each.refused = str(error)
            continue
        first = recipe.run.seed
        trials += [(each, plan, Trial.of(plan, each.name, seed, out)) for seed in range(first, first + seeds)]
    # All compositions of one seed come first, so that whatever is broken shows early.
    trials.sort(key=lambda trial: trial[2].seed)
    planned = [(trial, plan) for _, plan, trial in trials]
    if retry:
        try_again(planned)
    pending = [each.trial for each in states_of(planned) if each.status in ("running", "waiting")]
    (work or partial(train_pending, registry=registry, device=device, progress=progress))(pending)
    states = states_of(planned)
    _note(trials, states)
    done = [(each, trial) for (each, _, trial), state in zip(trials, states, strict=True) if state.status == "done"]
    column = _scored(score, [trial for each, trial in done if each.outcome == "trained"])
    for each, trial in done:
        if each.outcome == "trained":
            each.values += [value for other, value in last_values(trial).items() if other == column]
    title = f"{recipe.name}, {recipe.run.iterations} iterations of batches of {recipe.run.batch_size}, seeds: {seeds}"
    table = Compositions(title, column, compositions)
    refuse_unfinished(states, table)
    write_whole(out / "compositions.md", table.markdown())
    write_whole(out / "compositions.json", table.json())
    return table


def _note(trials: Sequence[_Planned], states: Sequence[State]) -> None:
    """Note what was refused when it was built, what broke, and what is not trained yet."""
    for (each, _, trial), state in zip(trials, states, strict=True):
        if state.status == "failed" and not (each.broken or each.refused):
            # What was refused before its first step has left no run.
            if began_and_failed(trial):
                each.broken = f"seed {trial.seed}: {state.detail}"
            else:
                each.refused = state.detail
        each.waiting |= state.status in ("running", "waiting")


def _scored(name: str, trained: Sequence[Trial]) -> Column | None:
    """Return the column to show: of the score with a name, or the first, as the recipe alone has it."""
    columns: Mapping[Column, float] = last_values(trained[0]) if trained else {}
    for column in columns:
        if name in ("", column.name):
            return column
    if name and trained:
        known = ", ".join(column.name for column in columns)
        raise GancoreError(f"there is no score {name!r} (there are: {known or 'none'}); change --score.")
    return None


def _told(attribute: attrs.Attribute[Any], _value: Any) -> bool:
    return attribute.name != "waiting"


def _shown(composition: Composition) -> str:
    if not composition.values:
        return MISSING
    mean, deviation = mean_and_deviation(composition.values)
    return full(mean) if deviation is None else f"{full(mean)} ± {full(deviation, 2)}"
