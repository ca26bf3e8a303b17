"""A paper's table, with ours beside it: trained where it is asked for, read where the runs are stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import torch
from gancore_training import Evaluator, Progress, RunFolder, holding, open_run

from gancore import GancoreError
from gancore.tools import Plan, Registry, read
from gancore_report.paper_tables import Final, Layered, PaperRow, PaperTable, Quantity
from gancore_report.paths import write_whole
from gancore_report.reading import RunData, read_run
from gancore_report.reproduced import Reproduced, Value
from gancore_report.scores import Column, evaluations
from gancore_report.states import State, failed_notes, failure, record_failure, refuse_unfinished
from gancore_report.trials import Trial, Work, check_place, finished, scored_plan, share, states_of, train_pending, try_again


@attrs.frozen
class _Planned:
    row: PaperRow
    layered: Layered
    plan: Plan


def reproduce(
    table: PaperTable,
    registry: Registry,
    out: Path,
    *,
    seeds: int = 0,
    assignments: Sequence[str] = (),
    device: torch.device,
    progress: Progress | None = None,
    work: Work | None = None,
    retry: bool = False,
) -> Reproduced:
    """Return a paper's table with ours beside it, and write it.

    Everything is checked before anything is trained. Finished runs in `out` are not repeated, and an interrupted one goes on;
    several of these may work on one folder.

    Args:
        table: The table.
        registry: The installed plugins.
        out: Where the runs lie, or go, and ``table.md`` and ``table.json``.
        seeds: Runs of each row that there shall be, from the recipes' seeds on; 0 trains none, and shows what is stored.
        assignments: ``KEY=VALUE`` texts for all rows, e.g. where their data lie.
        device: Where to compute.
        progress: Whom to tell.
        work: Trains the runs that wait, or has them trained; by default they are trained, and all are scored, here.
        retry: Try again what has failed.

    Raises:
        Unfinished: Some runs are neither trained and scored nor failed: other processes have them, or will.
        GancoreError: Anything wrong with a recipe or the folder.
        Interrupted: A signal came; the state is saved, and the same call goes on.
    """
    progress = progress or Progress()
    check_place("a table", out, max(seeds, 1))
    installed = {name.partition("/")[0] for name in registry.recipes()}
    notes, planned = list[str](), list[_Planned]()
    if assignments:
        notes.append(f"Otherwise than it says, in all rows: {', '.join(assignments)}.")
    for row in table.rows:
        if row.trained is None:
            continue
        lacking = sorted(row.trained.plugins() - installed)
        if lacking:
            notes.append(f"{row.label} needs the plugin {lacking[0]}, which is not installed.")
            continue
        try:
            planned.append(_plan(row, row.trained, assignments, registry))
        except GancoreError as error:
            # What is stored is shown wherever the data are.
            if seeds:
                raise
            notes.append(str(error))
    states: list[State] = []
    if seeds:
        trials = [(each, _trial(each, first + k, out)) for k in range(seeds) for each in planned for first in [_first(each)]]
        if retry:
            try_again([(trial, each.plan) for each, trial in trials])
        states = _states(table, trials)
        pending = [state.trial for state in states if state.status in ("running", "waiting")]
        if work is not None:
            work(pending)
        else:
            train_pending(pending, registry, device, progress)
            notes += _score_all(table, trials, registry, device, progress)
        states = _states(table, trials)
        notes += failed_notes(states)
    runs, wanted = dict(_values(table, planned, out)), max(seeds, table.seeds)
    missing = {each.row.label: unseen for each in planned if (unseen := _lacking(each, wanted, runs))}
    reproduced = Reproduced(table, runs, missing, tuple(dict.fromkeys(notes)))
    write_whole(out / "table.md", reproduced.markdown())
    write_whole(out / "table.json", json.dumps(reproduced.json(), indent=2) + "\n")
    refuse_unfinished(states, reproduced)
    return reproduced


_Trials = Sequence[tuple[_Planned, Trial]]


def _states(table: PaperTable, trials: _Trials) -> list[State]:
    """Return how far runs are; one is done when its final scores are there too, but for those that a table goes without."""
    states = states_of([(trial, each.plan) for each, trial in trials])
    needed = [final for final in table.finals if not final.optional]
    return [
        attrs.evolve(state, status="waiting", detail="not scored yet")
        if state.status == "done" and not all(_is_scored(state.trial, final) for final in needed)
        else state
        for state in states
    ]


def _score_all(table: PaperTable, trials: _Trials, registry: Registry, device: torch.device, progress: Progress) -> list[str]:
    """Score what is trained by the table's final scores, each by one process; return what could not be computed."""
    notes: list[str] = []
    wanted = [(each, trial, final) for each, trial in trials for final in table.finals]
    lacking = [one for one in wanted if finished(one[1], one[0].plan)]

    def done(one: tuple[_Planned, Trial, Final]) -> bool:
        return _is_scored(one[1], one[2]) or one in tried or bool(failure(one[1]))

    def begin(one: tuple[_Planned, Trial, Final]) -> None:
        with holding(one[1].folder.path):
            tried.append(one)
            try:
                notes.extend(_score(*one, registry, device, progress))
            except GancoreError as error:
                progress.announce(f"failed: {record_failure(one[1], error)}")

    tried: list[tuple[_Planned, Trial, Final]] = []
    share(lacking, done, begin, progress)
    return notes


def _is_scored(trial: Trial, final: Final) -> bool:
    names = {name for entry in read_run(trial.folder.path).scores for name in entry.values}
    return all(any(name.startswith(f"{metric}/") for name in names) for metric in final.metrics)


def _plan(row: PaperRow, layered: Layered, assignments: Sequence[str], registry: Registry) -> _Planned:
    try:
        recipe = read(layered.recipe, registry, overlays=layered.overlays, assignments=[*layered.assignments, *assignments])
        return _Planned(row, layered, scored_plan(recipe, registry))
    except GancoreError as error:
        raise GancoreError(f"the row {row.label!r}: {error}") from error


def _first(planned: _Planned) -> int:
    return planned.plan.recipe.run.seed


def _trial(planned: _Planned, seed: int, out: Path) -> Trial:
    return Trial.of(planned.plan, _folder_name(planned.row), seed, out)


def _folder_name(row: PaperRow) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", row.label.lower()).strip("-")


def _score(
    planned: _Planned, trial: Trial, final: Final, registry: Registry, device: torch.device, progress: Progress
) -> Iterator[str]:
    """Score a run that has ended, unless it is so already; yield what could not be computed, where the table goes without."""
    path = trial.folder.path
    if _is_scored(trial, final):
        return
    progress.announce(f"scores of {planned.row.label}, seed {trial.seed}: {', '.join(final.metrics)}")
    try:
        changes = [*final.assignments, *(text for metric in final.metrics for text in planned.layered.final.get(metric, ()))]
        run = open_run(path, registry, device, progress, assignments=changes, at=final.at or None)
        Evaluator(run, final.metrics)().write(RunFolder.open(path), run.iteration)
    except GancoreError as error:
        if not final.optional:
            raise
        yield f"{', '.join(final.metrics)} could not be computed: {error}"


def _values(
    table: PaperTable, planned: Sequence[_Planned], out: Path
) -> Iterator[tuple[str, list[tuple[RunData, dict[str, Value]]]]]:
    """Yield the label of each row that has finished runs, and of each of these what it says of the columns."""
    for each in planned:
        folders = sorted(out.glob(f"{_folder_name(each.row)}-[0-9]*"), key=lambda path: (len(path.name), path.name))
        seeds = [int(path.name.rpartition("-")[2]) for path in folders if _is_seed(each.row, path)]
        trials = [_trial(each, seed, out) for seed in seeds]
        runs = [read_run(trial.folder.path) for trial in trials if finished(trial, each.plan)]
        if runs:
            yield each.row.label, [(run, _shown(table.columns, run)) for run in runs]


def _lacking(planned: _Planned, number: int, runs: Mapping[str, Sequence[tuple[RunData, object]]]) -> list[int]:
    """Return of which seeds a row has no finished run."""
    ended = {run.seed for run, _ in runs.get(planned.row.label, ())}
    return [seed for seed in range(_first(planned), _first(planned) + number) if seed not in ended]


def _is_seed(row: PaperRow, path: Path) -> bool:
    return re.fullmatch(re.escape(_folder_name(row)) + "-[0-9]{1,8}", path.name) is not None


def _shown(columns: Sequence[Quantity], run: RunData) -> dict[str, Value]:
    """Return title -> value of the columns that a run has a score of."""
    history = [values for _, values in sorted(evaluations(run).items())]
    shown = {}
    for column in columns:
        scored = [
            (key, number)
            for values in history
            for key, value in values.items()
            if key.name == column.score and (number := _number(value, column.entry)) is not None
        ]
        if scored:
            key, value = scored[-1] if column.at == "last" else _best(scored)
            shown[column.title] = Value(column.factor * value + column.offset, key)
    return shown


def _number(value: float | tuple[float, ...], entry: int) -> float | None:
    """Return a score that is a number, or an entry of one that is a list; None where there is no such number."""
    if isinstance(value, tuple):
        return value[entry] if 0 <= entry < len(value) else None
    return value if entry < 0 else None


def _best(scored: Sequence[tuple[Column, float]]) -> tuple[Column, float]:
    """Return the best of a score's values that were made as the last one was."""
    alike = [(key, value) for key, value in scored if key == scored[-1][0]]
    return (min if alike[-1][0].better == "lower" else max)(alike, key=lambda pair: pair[1])
