"""A paper's table, with ours beside it: trained where it is asked for, read where the runs are stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import torch
from gancore_training import Evaluator, Progress, RunFolder, open_run

from gancore import GancoreError
from gancore.tools import Plan, Registry, read
from gancore_report.paper_tables import Final, Layered, PaperRow, PaperTable, Quantity
from gancore_report.paths import write_whole
from gancore_report.reading import RunData, read_run
from gancore_report.reproduced import Reproduced, Value
from gancore_report.scores import Column, evaluations
from gancore_report.trials import Trial, check_place, finished, scored_plan, train_pending


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

    Raises:
        GancoreError: Anything wrong with a recipe or the folder, or with a training.
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
    if seeds:
        trials = [(each, _trial(each, first + k, out)) for k in range(seeds) for each in planned for first in [_first(each)]]
        train_pending([trial for each, trial in trials if not finished(trial, each.plan)], registry, device, progress)
        for each, trial in trials:
            notes += [note for final in table.finals for note in _score(each, trial, final, registry, device, progress)]
    runs, wanted = dict(_values(table, planned, out)), max(seeds, table.seeds)
    pending = {each.row.label: unseen for each in planned if (unseen := _lacking(each, wanted, runs))}
    reproduced = Reproduced(table, runs, pending, tuple(dict.fromkeys(notes)))
    write_whole(out / "table.md", reproduced.markdown())
    write_whole(out / "table.json", json.dumps(reproduced.json(), indent=2) + "\n")
    return reproduced


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
    names = {name for entry in read_run(path).scores for name in entry.values}
    if all(any(name.startswith(f"{metric}/") for name in names) for metric in final.metrics):
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
