"""Ablation: a recipe as it is and without each of some parts, over several seeds, as the table that a paper prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch

from gancore import GancoreError
from gancore.tools import (
    GROUPS,
    Plan,
    Progress,
    Recipe,
    Registry,
    RunFolder,
    Silent,
    check_table,
    checkpoint,
    did_you_mean,
    distributed,
    entries,
    listed,
    make_plan,
    merge,
    prerequisites,
    toml,
    train,
    write_text,
)
from gancore_report import tables
from gancore_report.tables import ARROWS, MISSING, decimals, mean_and_deviation, spread

WHOLE = "whole"
KEPT = "losses.adversarial"
"""The part that is dropped only when it is named: without it there is no game."""

MARK = "†"


@attrs.frozen
class Trial:
    """One run of an ablation.

    Attributes:
        variant: Its row of the table.
        seed: Its seed.
        recipe: What is trained.
        folder: Where the run lies.
    """

    variant: str
    seed: int
    recipe: Recipe
    folder: RunFolder


@attrs.frozen
class Scored:
    """What the last evaluation of one run gave.

    Attributes:
        values: ``metric/value`` -> number; lists of numbers are left out.
        protocols: Metric label -> how its values were made, with an ``id``.
        better: ``metric/value`` -> ``lower`` or ``higher``.
    """

    values: dict[str, float]
    protocols: dict[str, dict[str, Any]]
    better: dict[str, str]


@attrs.frozen
class Table:
    """The scores of an ablation.

    Attributes:
        recipe: Name of the recipe.
        iterations: How long each run was trained.
        seeds: The seeds, in order.
        rows: Variant -> what each seed gave.
    """

    recipe: str
    iterations: int
    seeds: tuple[int, ...]
    rows: dict[str, tuple[Scored, ...]]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every numeric score, in the order of the recipe's metrics."""
        return tuple(dict.fromkeys(name for runs in self.rows.values() for run in runs for name in run.values))

    @property
    def caption(self) -> str:
        """What the cells are."""
        seeds = ", ".join(map(str, self.seeds))
        what = f"mean ± sample deviation over the seeds {seeds}" if len(self.seeds) > 1 else f"one run each, of seed {seeds}"
        return f"{self.recipe}, {self.iterations} iterations: {what}"

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each metric that did not score all runs by the same protocol."""
        notes = []
        first = self._first
        for metric in dict.fromkeys(column.split("/")[0] for column in self.columns):
            others = [run.protocols.get(metric, {}) for runs in self.rows.values() for run in runs]
            own = first.protocols.get(metric, {})
            keys = {key for other in others for key in {*own, *other} if own.get(key) != other.get(key)} - {"id"}
            if any(other.get("id") != own.get("id") for other in others):
                notes.append(
                    f"{MARK} {metric}: scored by another protocol than {WHOLE} of seed {self.seeds[0]} "
                    f"(different {listed(keys, none='id')}), so not comparable with it."
                )
        return tuple(notes)

    def text(self) -> str:
        """Return the table for a terminal."""
        header, rows = self._cells()
        return "\n".join([self.caption, "", *tables.plain([header, *rows]), *self._after()])

    def markdown(self) -> str:
        """Return the table in Markdown."""
        header, rows = self._cells()
        return "\n".join([self.caption, "", *tables.markdown(header, rows), *("\n" + note for note in self.notes)]) + "\n"

    def json(self) -> dict[str, Any]:
        """Return every value by seed, means and deviations, and how the values were made."""
        protocols: dict[str, dict[str, Any]] = {}
        for run in (run for runs in self.rows.values() for run in runs):
            for metric, protocol in run.protocols.items():
                protocols.setdefault(metric, {})[protocol["id"]] = protocol
        return {
            "recipe": self.recipe,
            "iterations": self.iterations,
            "seeds": list(self.seeds),
            "variants": {variant: self._row_as_json(runs) for variant, runs in self.rows.items()},
            "better": {column: self._first.better[column] for column in self.columns if column in self._first.better},
            "protocols": protocols,
            "notes": list(self.notes),
        }

    def _row_as_json(self, runs: Sequence[Scored]) -> dict[str, Any]:
        scores = {}
        for column in self.columns:
            values = [run.values.get(column) for run in runs]
            known = [value for value in values if value is not None]
            mean, deviation = mean_and_deviation(known) if len(known) == len(values) else (None, None)
            scores[column] = {"values": values, "mean": mean, "deviation": deviation}
        metrics = dict.fromkeys(metric for run in runs for metric in run.protocols)
        ids = {metric: [run.protocols.get(metric, {}).get("id") for run in runs] for metric in metrics}
        return {"scores": scores, "protocols": ids}

    @property
    def _first(self) -> Scored:
        return self.rows[WHOLE][0]

    def _after(self) -> list[str]:
        return ["", *self.notes] if self.notes else []

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Return the header, and a line of cells for each variant; cells of one column end with their last digits aligned."""
        header = [f"{len(self.seeds)} seed{'s' * (len(self.seeds) > 1)}"]
        rows = [[variant] for variant in self.rows]
        for column in self.columns:
            metric = column.split("/")[0]
            own = self._first.protocols.get(metric, {}).get("id")
            found = [[run.values[column] for run in runs if column in run.values] for runs in self.rows.values()]
            digits = decimals([mean_and_deviation(values)[0] for values in found if values])
            other = [any(run.protocols.get(metric, {}).get("id") != own for run in runs) for runs in self.rows.values()]
            header.append(column + ARROWS.get(self._first.better.get(column, ""), "") + " " * any(other))
            for row, values, marked in zip(rows, found, other, strict=True):
                # A mean over fewer seeds than the caption says would be another quantity.
                cell = spread(values, digits) if len(values) == len(self.seeds) else MISSING
                row.append(cell + (MARK if marked else " " * any(other)))
        return header, rows


def ablate(
    recipe: Recipe,
    registry: Registry,
    out: Path,
    *,
    drops: Sequence[str] = (),
    seeds: int = 3,
    device: torch.device,
    progress: Progress | None = None,
) -> Table:
    """Train a recipe as it is and once without each of some parts, for several seeds, and return and write the table.

    Everything is checked before anything is trained. Finished runs in `out` are not repeated, and an interrupted one goes on.

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
    progress = progress or Silent()
    trials, pending = prepare(recipe, registry, out, drops=drops, seeds=seeds, announce=progress.announce)
    for number, trial in enumerate(pending, 1):
        progress.announce(f"run {number} of {len(pending)}: {trial.variant}, seed {trial.seed}")
        try:
            train(trial.recipe, registry, trial.folder.path, device=device, resume=True, progress=progress)
        except GancoreError as error:
            if trial.recipe.name in str(error):
                raise
            raise GancoreError(f"{trial.recipe.name}: {error}") from error
    rows: dict[str, tuple[Scored, ...]] = {}
    for trial in trials:
        rows[trial.variant] = (*rows.get(trial.variant, ()), last_scores(trial))
    table = Table(recipe.name, recipe.run.iterations, tuple(dict.fromkeys(trial.seed for trial in trials)), rows)
    try:
        write_text(out / "ablation.md", table.markdown())
        write_text(out / "ablation.json", json.dumps(table.json(), indent=2) + "\n")
    except OSError as error:
        raise GancoreError(f"{out} can't be written: {error.strerror}; choose another --out.") from error
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
    if seeds < 1:
        raise GancoreError(f"an ablation takes at least one seed, not {seeds}; set --seeds, e.g. to 3.")
    distributed.one_process("an ablation")
    if out.exists() and (not out.is_dir() or RunFolder(out).recipe.exists()):
        raise GancoreError(f"{out} is {'a run' if out.is_dir() else 'a file'}; choose another --out.")
    plans = {WHOLE: _checked_plan(recipe, registry)}
    if not plans[WHOLE].metrics:
        raise GancoreError(
            f"{recipe.name} has no metrics to fill a table with; add some, e.g. --set metrics.kl.use=class-histogram."
        )
    plans |= _named(recipe, registry, drops) if drops else _default(plans[WHOLE], announce)
    trials, pending = [], []
    for seed in range(recipe.run.seed, recipe.run.seed + seeds):
        for variant, plan in plans.items():
            table = merge(plan.recipe.table, {"run": {"seed": seed}})
            name = f"{plan.recipe.name}, seed {seed}"
            folder = RunFolder(out / f"{variant.replace(' ', '-')}-{seed}")
            trial = Trial(variant, seed, check_table(table, registry, name=name, layers=recipe.layers), folder)
            trials.append(trial)
            if not _finished(trial, plan):
                pending.append(trial)
    return trials, pending


def droppable(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Return each part that a recipe can switch off -> the table that does; a metric, which makes a column, is none."""
    groups = [*(group for group in GROUPS if group != "metrics"), "optimizers"]
    parts = {f"{group}.{label}": {group: {label: False}} for group in groups for label in recipe.table.get(group, {})}
    return {**parts, **{single: {single: False} for single in ("ema", "evaluation") if single in recipe.table}}


def last_scores(trial: Trial) -> Scored:
    """Return what the last evaluation of a finished run gave.

    Raises:
        GancoreError: The run was not scored at its last iteration.
    """
    folder, last = trial.folder, trial.recipe.run.iterations
    found = [entry for entry in entries(folder.scores) if entry["iteration"] == last] if folder.scores.exists() else []
    if not found:
        raise GancoreError(
            f"{folder.path} is trained but holds no scores of iteration {last}; score it by `gancore evaluate {folder.path}`."
        )
    whole: dict[str, dict[str, Any]] = {"scores": {}, "protocols": {}, "better": {}}
    # `gancore evaluate` appends lines, of a few metrics where it is asked for a few; the newest value of each counts.
    for entry in found:
        for key, known in whole.items():
            known.update(entry.get(key, {}))
    numbers = {k: v for k, v in whole["scores"].items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return Scored(numbers, whole["protocols"], whole["better"])


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
    wanted = [f"losses.{label}" for label in plan.terms if f"losses.{label}" != KEPT]
    wanted += [f"{group}.{label}" for group in ("attacks", "samplers") for label in recipe.group(group)]
    plans, refused = {}, ""
    for part in wanted:
        try:
            plans[f"without {part}"] = _plan_without(recipe, plan.registry, part, parts[part])
        except GancoreError as error:
            refused = f"{part} is not dropped, for without it there is no plan: {error}"
            announce(refused)
    if not plans:
        why = f"; {refused}" if refused else f": it has no loss term but {KEPT}, no attack and no sampler."
        raise GancoreError(f"{recipe.name} has nothing to drop by default, so name a part by --drop{why}")
    return plans


def _plan_without(recipe: Recipe, registry: Registry, part: str, off: Mapping[str, Any]) -> Plan:
    name = f"{recipe.name} without {part}"
    return _checked_plan(check_table(merge(recipe.table, off), registry, name=name, layers=recipe.layers), registry)


def _checked_plan(recipe: Recipe, registry: Registry) -> Plan:
    """Return the plan of a recipe, having made those of the trainings that it needs first."""
    plan = make_plan(recipe, registry)
    for part in prerequisites.wanted(plan):
        make_plan(prerequisites.training_recipe(plan, part), registry)
    return plan


def _finished(trial: Trial, plan: Plan) -> bool:
    """Return whether a run is trained, scored and exported; refuse a folder that holds something else."""
    folder, path = trial.folder, trial.folder.path
    if not folder.recipe.exists():
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise GancoreError(f"{path} holds other files and no run; choose another --out.")
        return False
    if toml.dumps(toml.read(folder.recipe)) != toml.dumps(trial.recipe.table):
        raise GancoreError(f"{path} was trained by another recipe, or other settings; choose another --out.")
    newest = checkpoint.checkpoints(path)[-1:]
    if not newest or int(newest[0].stem) < trial.recipe.run.iterations:
        return False
    last_scores(trial)
    # Weights are written after the last checkpoint, so a run may have been killed between the two.
    names = [*plan.players, *(f"heads.{label}" for label in plan.heads)]
    return all((folder.weights / f"{name}.safetensors").is_file() for name in names)
