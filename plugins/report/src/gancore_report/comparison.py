"""Comparison: the scores of several runs as one table, in which only what may be compared shares a column. Needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import attrs
from gancore_training import RunFolder, command_line

from gancore import GancoreError
from gancore.tools import did_you_mean, listed, toml
from gancore_report.paths import distinct, told_apart, write_whole
from gancore_report.reading import RunData, read_run
from gancore_report.scores import ARROWS, Column, Row, ScoredRun, ScoreTable, evaluations, in_words, single_numbers
from gancore_report.tables import as_csv, as_markdown

LAST = "last"
BEST = "best:"

DEEPEST = 3
"""Levels below a folder on which runs are looked for."""


@attrs.frozen
class _Candidate:
    """A run with the evaluations that may be shown.

    Attributes:
        run: The run.
        label: Its name in the table, unlike any other run's.
        evaluations: Iteration -> column -> value.
        lack: What is said where there are none.
    """

    run: RunData
    label: str
    evaluations: Mapping[int, Mapping[Column, float]]
    lack: str


def compare(paths: Sequence[Path], *, metrics: Sequence[str] = (), at: str = LAST, each: bool = False) -> ScoreTable:
    """Return the scores of runs side by side.

    Values of one score that were computed by different protocols never share a column, and a note says in what the protocols
    differ. Runs that differ in nothing but their seed share a row; only values of one protocol and one iteration are averaged.
    A run that is named twice is shown once.

    Args:
        paths: Folders that `gancore train` wrote, or that hold some; at least one.
        metrics: Metrics to show, ``fid``, or single scores, ``fid/fid``; by default all.
        at: Which evaluation of each run: ``last``, an iteration, or ``best:SCORE`` for the one whose score was best.
        each: Give each run a row of its own.

    Raises:
        GancoreError: With one sentence: a folder holds no run, a recipe is damaged, no run has the score or the evaluation that
            is asked for, or the best value is asked for of a score that has none.
    """
    paths = [run for path in paths for run in runs_in(path)]
    named = distinct(paths, "a comparison")
    remarks = [f"{path} is named twice, and shown once." for path in named if _times(path, paths) > 1]
    runs = dict(zip(told_apart(named), map(_read, named), strict=True))
    remarks += [f"{label}: {run.damaged_scores}" for label, run in runs.items() if run.damaged_scores]
    return side_by_side(runs, metrics=metrics, at=at, each=each, remarks=remarks)


def side_by_side(
    runs: Mapping[str, RunData],
    *,
    metrics: Sequence[str] = (),
    at: str = LAST,
    each: bool = False,
    remarks: Sequence[str] = (),
) -> ScoreTable:
    """Return the scores of runs that were read, by their labels.

    Args:
        runs: Label -> run.
        metrics: As for `compare`.
        at: As for `compare`.
        each: As for `compare`.
        remarks: What the reader must know beside what the table itself says.

    Raises:
        GancoreError: As `compare`.
    """
    read = [_Candidate(run, label, _numbers(run), _no_scores(run, label)) for label, run in runs.items()]
    nor = " Nor has any other of the runs." if len(read) > 1 else ""
    if not any(run.evaluations for run in read):
        raise GancoreError(read[0].lack + nor)
    candidates = [_only(run, metrics, _names(read)) for run in read]
    chosen = [_chosen(run, at, _names(candidates)) for run in candidates]
    scored = [run for run, _ in chosen]
    if all(run.iteration is None for run in scored):
        raise GancoreError(chosen[0][1] + nor)
    remarks = [*remarks, *(lack for _, lack in chosen if lack)]
    rows = _rows(scored, remarks, each=each)
    return ScoreTable(f"Scores {_at_in_words(at)}", rows, tuple(remarks), newest=at == LAST)


def write(table: ScoreTable, out: Path) -> None:
    """Write a table as Markdown or, by the file's name, as CSV (a line per run) or JSON.

    Raises:
        GancoreError: The name ends otherwise, or the file can't be written.
    """
    texts: dict[str, Callable[[ScoreTable], str]] = {".md": as_markdown, ".csv": as_csv, ".json": _as_json}
    if out.suffix not in texts:
        raise GancoreError(f"--out {out} ends in none of .md, .csv and .json; name a file of Markdown, CSV or JSON.")
    write_whole(out, texts[out.suffix](table))


def _as_json(table: ScoreTable) -> str:
    return json.dumps(table.json(), indent=2) + "\n"


def runs_in(path: Path) -> list[Path]:
    """Return the runs in a folder and in those below it, sorted by name; a run itself, or what holds none, as it is."""
    if RunFolder(path).recipe.is_file():
        return [path]
    below = sorted(recipe.parent for depth in range(1, DEEPEST + 1) for recipe in path.glob(f"{'*/' * depth}recipe.toml"))
    return below or [path]


def _read(path: Path) -> RunData:
    toml.read(RunFolder.open(path).recipe)  # refuses a damaged recipe, for what can't be told apart can't be compared
    return read_run(path)


def _numbers(run: RunData) -> dict[int, dict[Column, float]]:
    scores = {iteration: single_numbers(values) for iteration, values in evaluations(run).items()}
    return {iteration: values for iteration, values in scores.items() if values}


def _names(runs: Iterable[_Candidate]) -> list[str]:
    return list(dict.fromkeys(column.name for run in runs for values in run.evaluations.values() for column in values))


def _only(run: _Candidate, metrics: Sequence[str], names: Sequence[str]) -> _Candidate:
    """Return a run with the scores that are asked for.

    Raises:
        GancoreError: No run has a score that is asked for.
    """
    labels = dict.fromkeys(name.split("/")[0] for name in names)
    for asked in metrics:
        if asked not in names and asked not in labels:
            near = did_you_mean(asked, [*names, *labels])
            raise GancoreError(f"none of the runs was scored by {asked!r}{near} (their scores: {listed(names)}).")
    if not metrics:
        return run
    wanted = {
        iteration: {column: value for column, value in values.items() if {column.name, column.metric} & set(metrics)}
        for iteration, values in run.evaluations.items()
    }
    lack = f"{run.label} was not scored by {listed(metrics)}." if run.evaluations else run.lack
    return attrs.evolve(run, evaluations={n: values for n, values in wanted.items() if values}, lack=lack)


def _chosen(run: _Candidate, at: str, names: Sequence[str]) -> tuple[ScoredRun, str]:
    """Return a run at the evaluation that is asked for, and a sentence where it has none."""
    iteration: int | None
    if at == LAST:
        iteration, lack = max(run.evaluations, default=None), ""
    elif at.isdecimal():
        iteration = int(at) if int(at) in run.evaluations else None
        known = ", ".join(map(str, run.evaluations))
        lack = f"{run.label} has no scores of iteration {at} (it has those of {known})."
    elif at.startswith(BEST):
        name = at.removeprefix(BEST)
        if name not in names:
            raise GancoreError(f"--at {at}: no run has the score {name!r}{did_you_mean(name, names)} ({listed(names)}).")
        iteration, lack = _best_iteration(run, name), f"{run.label} has no finite {name}."
    else:
        raise GancoreError(f"--at {at!r} is neither {LAST}, nor an iteration, nor {BEST}SCORE, e.g. {BEST}fid/fid.")
    if iteration is None:
        return ScoredRun(run.run, run.label, None, {}), lack if run.evaluations else run.lack
    return ScoredRun(run.run, run.label, iteration, run.evaluations[iteration]), ""


def _at_in_words(at: str) -> str:
    if at == LAST:
        return "of each run's last evaluation"
    if at.isdecimal():
        return f"of iteration {at}"
    return f"where each run's {at.removeprefix(BEST)} was best, so chosen by the score"


def _best_iteration(run: _Candidate, name: str) -> int | None:
    values = {n: (c, value) for n, scores in run.evaluations.items() for c, value in scores.items() if c.name == name}
    columns = list(dict.fromkeys(column for column, _ in values.values()))
    if len(columns) > 1:
        raise GancoreError(
            f"{run.run.path} scored {name} by different protocols ({listed(column.id for column in columns)}), so none of its "
            "values is the best; name an iteration by --at."
        )
    finite = {n: value for n, (_, value) in values.items() if math.isfinite(value)}
    if not finite:
        return None
    if columns[0].better not in ARROWS:
        raise GancoreError(
            f"{name} has no best value: its metric does not say which of two is better; name an iteration by --at."
        )
    return (min if columns[0].better == "lower" else max)(finite, key=lambda n: finite[n])


def _no_scores(run: RunData, label: str) -> str:
    """Return a sentence on a run that has no scores."""
    if run.recipe.get("metrics"):
        return f"{label} has no scores; score it by `{command_line('evaluate', run.path)}`."
    example = "--set metrics.kl.use=class-histogram"
    return f"{label} has no scores, for its recipe names no metrics; train it with some, e.g. {example}."


def _rows(runs: Sequence[ScoredRun], remarks: list[str], *, each: bool) -> tuple[Row, ...]:
    """Return the rows, and note why runs of one recipe are not averaged."""
    groups: dict[object, list[ScoredRun]] = {}
    for place, scored in enumerate(runs):
        # Of a recipe that can't be read it is not known whether it is another one's.
        alone = each or not scored.run.recipe
        groups.setdefault(place if alone else _training(scored.run), []).append(scored)
    rows = []
    for same in groups.values():
        by_iteration: dict[int | None, list[ScoredRun]] = {}
        for scored in same:
            by_iteration.setdefault(scored.iteration, []).append(scored)
        if len([n for n in by_iteration if n is not None]) > 1:
            what = in_words([scored.label for scored in same if scored.iteration is not None])
            remarks.append(f"{what} have the same recipe but are compared at different iterations, which are not averaged.")
        for iteration, several in by_iteration.items():
            seeds = [str(scored.run.seed) for scored in several]
            again = [scored.label for scored, seed in zip(several, seeds, strict=True) if seeds.count(seed) > 1]
            if again:
                what = in_words(again)
                remarks.append(f"{what} have the same recipe and the same seed, so the runs of that recipe are not averaged.")
            if again or iteration is None:
                rows += [Row(scored.label, (scored,)) for scored in several]
            else:
                rows.append(Row(_common([scored.label for scored in several]), tuple(several)))
    order = {scored.label: place for place, scored in enumerate(runs)}
    return tuple(sorted(rows, key=lambda row: order[row.runs[0].label]))


def _training(run: RunData) -> str:
    """Return everything that runs of one row have in common, as text: what was trained, and how, but for the seed."""
    settings = run.recipe.get("run")
    table = {k: v for k, v in settings.items() if k != "seed"} if isinstance(settings, dict) else settings
    return json.dumps([{**run.recipe, "run": table}, run.environment.get("precision")], sort_keys=True, default=str)


def _common(labels: Sequence[str]) -> str:
    """Return one name for several runs: ``whole-{0,1,2}``."""
    if len(labels) == 1:
        return labels[0]
    start = 0
    for place, letters in enumerate(zip(*labels, strict=False)):
        if len(set(letters)) > 1:
            break
        if not letters[0].isalnum():
            start = place + 1
    rest = [label[start:] for label in labels]
    shown = rest if len(rest) <= 4 else [rest[0], "…", rest[-1]]
    return f"{labels[0][:start]}{{{','.join(shown)}}}" if start else ", ".join(shown)


def _times(path: Path, paths: Sequence[Path]) -> int:
    return sum(other.resolve() == path.resolve() for other in paths)
