"""Ablation: a recipe as it is and without each of some parts, over several seeds, as the table that a paper prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from gancore_training import Progress

from gancore import GancoreError
from gancore.tools import GROUPS, Plan, Recipe, Registry, check_table, did_you_mean, listed, merge
from gancore_report.paths import write_whole
from gancore_report.scores import Row, ScoredRun, ScoreTable
from gancore_report.tables import as_markdown
from gancore_report.trials import Trial, check_place, checked_plan, finished, last_scores, scored_plan, train_pending

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
) -> ScoreTable:
    """Train a recipe as it is and once without each of some parts, for several seeds, and return and write the table.

    Everything is checked before anything is trained. Finished runs in `out` are not repeated, and an interrupted one goes on.
    Several of these may work on one folder: each takes runs that no other has.

    Args:
        recipe: The recipe, which names its metrics.
        registry: The installed plugins.
        out: Where the runs go, and ``ablation.md`` and ``ablation.json``.
        drops: Parts to drop, e.g. ``losses.balance``, or ``ema``; by default each loss term, attack and sampler in turn, but
            the adversarial loss.
        seeds: Number of seeds; the first is the recipe's.
        device: Where to compute.
        progress: Whom to tell.

    Raises:
        GancoreError: Anything wrong with recipe, parts or folder, or with a training.
        Interrupted: A signal came; the state is saved, and the same call goes on.
    """
    progress = progress or Progress()
    trials, pending = prepare(recipe, registry, out, drops=drops, seeds=seeds, announce=progress.announce)
    train_pending(pending, registry, device, progress)
    table = _table(recipe, trials)
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
) -> tuple[list[Trial], list[Trial]]:
    """Check all that `ablate` checks, and return all runs and those that are still to be trained, in their order.

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
    trials, pending = [], []
    for seed in range(recipe.run.seed, recipe.run.seed + seeds):
        for variant, plan in plans.items():
            trial = Trial.of(plan, variant, seed, out)
            trials.append(trial)
            if not finished(trial, plan):
                pending.append(trial)
    return trials, pending


def droppable(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return each part that a recipe can switch off -> the table that does; a metric, which makes a column, is none."""
    groups = [group for group in GROUPS if group != "metrics"]
    parts = {f"{group}.{label}": {group: {label: False}} for group in groups for label in recipe.table.get(group, {})}
    return {**parts, **{single: {single: False} for single in ("ema", "evaluation") if single in recipe.table}}


def _table(recipe: Recipe, trials: Sequence[Trial]) -> ScoreTable:
    rows: dict[str, tuple[ScoredRun, ...]] = {}
    for trial in trials:
        rows[trial.variant] = (*rows.get(trial.variant, ()), last_scores(trial))
    seeds = _seeds(trials)
    title = f"{recipe.name}, {recipe.run.iterations} iterations, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    damaged = [f"{one.label}: {one.run.damaged_scores}" for runs in rows.values() for one in runs if one.run.damaged_scores]
    return ScoreTable(title, tuple(Row(*row) for row in rows.items()), tuple(damaged), head="variant", alike=True)


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
