"""Ablation: a recipe as it is and without each of some parts, over several seeds, as the table that a paper prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gancore_training import Progress

from gancore import GancoreError
from gancore.tools import GROUPS, Plan, Recipe, Registry, check_table, did_you_mean, listed, merge
from gancore_report.paths import write_whole
from gancore_report.scores import Row, ScoredRun, ScoreTable
from gancore_report.states import State, failed_notes, refuse_none_done, refuse_unfinished
from gancore_report.tables import as_markdown
from gancore_report.trials import (
    Trial,
    Work,
    check_place,
    checked_plan,
    finished,
    last_scores,
    scored_plan,
    states_of,
    train_pending,
    try_again,
)

WHOLE = "whole"
ADVERSARIAL = "losses.adversarial"
"""What is dropped only when it is named: without it there is no game."""


def ablate(
    recipe: Recipe,
    registry: Registry,
    out: Path,
    *,
    drops: Sequence[str] = (),
    seeds: int = 3,
    device: torch.device,
    progress: Progress | None = None,
    work: Work | None = None,
    retry: bool = False,
) -> ScoreTable:
    """Train a recipe as it is and once without each of some parts, for several seeds, and return and write the table.

    Everything is checked before anything is trained. Finished runs in `out` are not repeated, and an interrupted one goes on.
    Several of these may work on one folder, on one host or on many: each takes runs that no other has. A run that fails ends
    no other, and is named below the table.

    Args:
        recipe: The recipe, which names its metrics.
        registry: The installed plugins.
        out: Where the runs go, and ``ablation.md`` and ``ablation.json``.
        drops: Parts to drop, e.g. ``losses.balance``, or ``ema``; by default each loss term, attack and sampler in turn, but
            the adversarial loss.
        seeds: Number of seeds; the first is the recipe's.
        device: Where to compute.
        progress: Whom to tell.
        work: Trains the runs that wait, or has them trained; by default they are trained here.
        retry: Try again what has failed.

    Raises:
        Unfinished: Some runs are neither trained nor failed: other processes have them, or will.
        GancoreError: Anything wrong with recipe, parts or folder, or with all trainings.
        Interrupted: A signal came; the state is saved, and the same call goes on.
    """
    progress = progress or Progress()
    planned = prepare(recipe, registry, out, drops=drops, seeds=seeds, announce=progress.announce)
    trials = [trial for trial, _ in planned]
    if retry:
        try_again(planned)
    before = states_of(planned)
    pending = [each.trial for each in before if each.status in ("running", "waiting")]
    (work or partial(train_pending, registry=registry, device=device, progress=progress))(pending)
    states = states_of(planned)
    refuse_none_done(states)
    table = _table(recipe, states)
    refuse_unfinished(states, table if table.columns else None)
    seeds_and_length = {"recipe": recipe.name, "iterations": recipe.run.iterations, "seeds": _seeds(trials)}
    write_whole(out / "ablation.md", as_markdown(table))
    write_whole(out / "ablation.json", json.dumps({**seeds_and_length, **table.json()}, indent=2) + "\n")
    return table


def prepare(
    recipe: Recipe,
    registry: Registry,
    out: Path,
    *,
    drops: Sequence[str],
    seeds: int,
    announce: Callable[[str], None],
) -> list[tuple[Trial, Plan]]:
    """Check all that `ablate` checks, and return all runs with their plans, in their order.

    All variants of one seed come before the next seed, so that whatever is wrong with a variant shows early.

    Args:
        recipe: As in `ablate`.
        registry: As in `ablate`.
        out: As in `ablate`.
        drops: As in `ablate`.
        seeds: As in `ablate`.
        announce: Told in one line which part stays in place because the recipe has no plan without it.

    Raises:
        GancoreError: With one sentence, for anything that is wrong.
    """
    check_place("an ablation", out, seeds)
    plans = {WHOLE: scored_plan(recipe, registry)}
    plans |= _named(recipe, registry, drops) if drops else _default(plans[WHOLE], announce)
    every = range(recipe.run.seed, recipe.run.seed + seeds)
    planned = [(Trial.of(plan, variant, seed, out), plan) for seed in every for variant, plan in plans.items()]
    for trial, plan in planned:
        finished(trial, plan)  # refuses a folder that holds something else
    return planned


def droppable(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return each part that a recipe can switch off -> the table that does; a metric, which makes a column, is none."""
    groups = [group for group in GROUPS if group != "metrics"]
    parts = {f"{group}.{label}": {group: {label: False}} for group in groups for label in recipe.table.get(group, {})}
    return {**parts, **{single: {single: False} for single in ("ema", "evaluation") if single in recipe.table}}


def _table(recipe: Recipe, states: Sequence[State]) -> ScoreTable:
    rows: dict[str, tuple[ScoredRun, ...]] = {}
    for each in states:
        own = rows.setdefault(each.trial.variant, ())
        rows[each.trial.variant] = (*own, last_scores(each.trial)) if each.status == "done" else own
    seeds = _seeds([each.trial for each in states])
    title = f"{recipe.name}, {recipe.run.iterations} iterations, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    damaged = [f"{one.label}: {one.run.damaged_scores}" for runs in rows.values() for one in runs if one.run.damaged_scores]
    remarks = (*damaged, *failed_notes(states))
    return ScoreTable(title, tuple(Row(*row) for row in rows.items()), remarks, head="variant", alike=True)


def _seeds(trials: Sequence[Trial]) -> list[int]:
    return list(dict.fromkeys(trial.seed for trial in trials))


def _named(recipe: Recipe, registry: Registry, drops: Sequence[str]) -> dict[str, Plan]:
    parts = droppable(recipe)
    for part in drops:
        if part not in parts:
            raise GancoreError(
                f"{recipe.name} has no part {part!r} to drop{did_you_mean(part, parts)} (it has: {listed(parts)})."
            )
    return {f"without {part}": _plan_without(recipe, registry, part, parts[part]) for part in drops}


def _default(plan: Plan, announce: Callable[[str], None]) -> dict[str, Plan]:
    recipe, parts = plan.recipe, droppable(plan.recipe)
    # A term of weight 0 is in the recipe and not in the plan; dropping it would change nothing.
    wanted = [f"losses.{label}" for label in plan.terms if f"losses.{label}" != ADVERSARIAL]
    wanted += [f"{group}.{label}" for group in ("attacks", "samplers") for label in recipe.group(group)]
    plans, refused = {}, ""
    for part in wanted:
        try:
            plans[f"without {part}"] = _plan_without(recipe, plan.registry, part, parts[part])
        except GancoreError as error:
            refused = f"{part} is not dropped, for without it there is no plan: {error}"
            announce(refused)
    if not plans:
        why = f"; {refused}" if refused else f": it has no loss term but {ADVERSARIAL}, no attack and no sampler."
        raise GancoreError(f"{recipe.name} has nothing to drop by default, so name a part by --drop{why}")
    return plans


def _plan_without(recipe: Recipe, registry: Registry, part: str, off: Mapping[str, Any]) -> Plan:
    name = f"{recipe.name} without {part}"
    return checked_plan(check_table(merge(recipe.table, off), registry, name=name, layers=recipe.layers), registry)
