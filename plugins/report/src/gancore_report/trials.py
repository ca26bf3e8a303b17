"""The runs of a command that trains several: what each is, whether it is done, and how it scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import attrs
import torch
from gancore_training import InUse, Progress, RunFolder, checkpoint, command_line, holder, one_process, prerequisites, train

from gancore import GancoreError
from gancore.tools import Plan, Recipe, Registry, check_table, make_plan, merge, toml
from gancore_report.reading import read_run
from gancore_report.scores import Column, ScoredRun, evaluations, single_numbers
from gancore_report.states import State, failure, forget_failure, record_failure, state_of

T = TypeVar("T")


@attrs.frozen
class Trial:
    """One run of a table.

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

    @classmethod
    def of(cls, plan: Plan, variant: str, seed: int, out: Path) -> Trial:
        """Return the run of a plan with a seed of its own, in a folder below `out`."""
        recipe = plan.recipe
        table = merge(recipe.table, {"run": {"seed": seed}})
        folder = RunFolder(out / f"{variant.replace(' ', '-').replace('/', '-')}-{seed}")
        checked = check_table(table, plan.registry, name=f"{recipe.name}, seed {seed}", layers=recipe.layers)
        return cls(variant, seed, checked, folder)


Work = Callable[[Sequence[Trial]], object]
"""Trains runs, or has them trained; by whom those are that are done then, their folders tell."""


def check_place(what: str, out: Path, seeds: int) -> None:
    """Refuse a number of seeds, several processes, or a folder, with which `what`, e.g. "an ablation", can't begin.

    Raises:
        GancoreError: With one sentence that says what to change.
    """
    if seeds < 1:
        raise GancoreError(f"{what} takes at least one seed, not {seeds}; set --seeds, e.g. to 3.")
    one_process(what)
    if out.exists() and (not out.is_dir() or RunFolder(out).recipe.exists()):
        raise GancoreError(f"{out} is {'a run' if out.is_dir() else 'a file'}; choose another --out.")


def last_scores(trial: Trial) -> ScoredRun:
    """Return what the last evaluation of a finished run gave.

    Raises:
        GancoreError: The run was not scored at its last iteration.
    """
    path, last = trial.folder.path, trial.recipe.run.iterations
    run, values = read_run(path), last_values(trial)
    if not values:
        how = command_line("evaluate", path)
        raise GancoreError(f"{path} is trained but holds no scores of iteration {last}; score it by `{how}`.")
    return ScoredRun(run, path.name, last, values)


def last_values(trial: Trial) -> dict[Column, float]:
    """Return the single numbers of a run's last evaluation; none where it was not scored at its last iteration."""
    return single_numbers(evaluations(read_run(trial.folder.path)).get(trial.recipe.run.iterations, {}))


def checked_plan(recipe: Recipe, registry: Registry) -> Plan:
    """Return the plan of a recipe, having made those of the trainings that it needs first."""
    plan = make_plan(recipe, registry)
    for place in prerequisites.wanted(plan):
        make_plan(prerequisites.training_recipe(plan, place), registry)
    return plan


def scored_plan(recipe: Recipe, registry: Registry) -> Plan:
    """Return the plan of a recipe as `checked_plan` does; refuse one without metrics."""
    plan = checked_plan(recipe, registry)
    if not plan.metrics:
        raise GancoreError(
            f"{recipe.name} has no metrics to fill a table with; add some, e.g. --set metrics.kl.use=class-histogram."
        )
    return plan


def finished(trial: Trial, plan: Plan) -> bool:
    """Return whether a run is trained, scored and exported; refuse a folder that holds something else."""
    folder, path = trial.folder, trial.folder.path
    # Whoever holds it may be about to begin it, or to end it.
    if holder(path) or not folder.trained():
        return False
    if toml.dumps(toml.read(folder.recipe)) != toml.dumps(trial.recipe.table):
        raise GancoreError(f"{path} was trained by another recipe, or other settings; choose another --out.")
    newest = checkpoint.checkpoints(path)[-1:]
    if not newest or int(newest[0].stem) < trial.recipe.run.iterations:
        return False
    # Scores and weights are written after the last checkpoint, so a run may have been stopped before them.
    if not last_values(trial):
        return False
    names = [*plan.players, *(f"heads.{label}" for label in plan.heads)]
    return all((folder.weights / f"{name}.safetensors").is_file() for name in names)


def states_of(planned: Sequence[tuple[Trial, Plan]]) -> list[State]:
    """Return how far runs are."""
    return [state_of(trial, finished(trial, plan)) for trial, plan in planned]


def try_again(planned: Sequence[tuple[Trial, Plan]]) -> None:
    """Have runs that failed be trained again."""
    for trial, _ in planned:
        forget_failure(trial)


def train_pending(pending: Sequence[Trial], registry: Registry, device: torch.device, progress: Progress) -> None:
    """Train runs one after another, each from where it was stopped; those that another process has are left to it.

    One that fails is on record, and ends no other; one that has failed before is not tried again.

    Raises:
        Interrupted: A signal came; the state is saved.
    """

    def done(numbered: tuple[int, Trial]) -> bool:
        trial = numbered[1]
        return finished(trial, make_plan(trial.recipe, registry)) or bool(failure(trial))

    def begin(numbered: tuple[int, Trial]) -> None:
        number, trial = numbered
        try:
            train_one(trial, f"run {number} of {len(pending)}", registry, device, progress)
        except Exception as error:
            progress.announce(f"failed: {record_failure(trial, error)}")

    share([*enumerate(pending, 1)], done, begin, progress)


def train_one(trial: Trial, place: str, registry: Registry, device: torch.device, progress: Progress) -> None:
    """Train a run from where it stands; `place`, e.g. "run 2 of 6", tells where that is among the others.

    Raises:
        InUse: Another process has it.
        GancoreError: The training fails.
    """
    progress.announce(f"{place}: {trial.variant}, seed {trial.seed}")
    train(trial.recipe, registry, trial.folder.path, device=device, resume=True, progress=progress)
    forget_failure(trial)


def share(trials: Sequence[T], done: Callable[[T], bool], begin: Callable[[T], None], progress: Progress) -> list[T]:
    """Train what is not done, one after another; what another process has is looked at again as long as that gets on.

    Args:
        trials: What is to be trained.
        done: Whether that has been, by whomever.
        begin: Trains one; raises `InUse` where another process has it.
        progress: Is told so.

    Returns:
        What others still have.
    """
    waiting = list(trials)
    while waiting:
        busy: list[T] = []
        for trial in waiting:
            if done(trial):
                continue
            try:
                begin(trial)
            except InUse as error:
                progress.announce(str(error))
                busy.append(trial)
        busy = [trial for trial in busy if not done(trial)]
        if len(busy) == len(waiting):
            break
        waiting = busy
    return waiting
