"""The sections on scores: final values, how they were computed, curves, and the classes of generated images."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from markupsafe import Markup

from gancore_report.comparison import side_by_side
from gancore_report.formats import full, percent, short
from gancore_report.rendering import render
from gancore_report.scores import ARROWS, Column, ScoreTable, differing, evaluations, mean_and_deviation, ordered, setting
from gancore_report.shown import Charts, Lists, Shown, bar_charts, line_charts

_Kind = TypeVar("_Kind", float, tuple[float, ...])

_MOST_SETTINGS = 3
"""Differing settings of a protocol that are told beside a score's name."""


def scores_section(runs: Sequence[Shown]) -> Markup:
    """Return the values of each run, where the first screen has means, the protocols, and the curves; empty without any."""
    numbers = _history(runs, float)
    if not numbers:
        return Markup()
    table = scores_of(runs)
    columns = ordered([*numbers, *_history(runs, tuple)])
    return render(
        "scores",
        each=score_table(runs, side_by_side({run.title: run.data for run in runs}, each=True)) if table.averaged else None,
        protocols=_protocols(columns),
        charts=line_charts(runs, [(_title(column, numbers), points) for column, points in numbers.items()], log=True),
    )


def scores_of(runs: Sequence[Shown]) -> ScoreTable:
    """Return the table of the runs' last scores, of which at least one must be a number."""
    return side_by_side({run.title: run.data for run in runs})


def scored(runs: Sequence[Shown]) -> bool:
    """Return whether some run has a score that is a number."""
    return bool(_history(runs, float))


def grouped(runs: Sequence[Shown]) -> list[list[Shown]]:
    """Return the runs by rows of their table of scores: those that differ in nothing but their seed together."""
    if not scored(runs):
        return [[run] for run in runs]
    by_title = {run.title: run for run in runs}
    return [[by_title[one.label] for one in row.runs] for row in scores_of(runs).rows]


def score_table(runs: Sequence[Shown], table: ScoreTable) -> Markup:
    """Return a table of scores, a row for each, with what each value is against that of the first column."""
    numbers = _history(runs, float)
    by_title = {run.title: run for run in runs}
    columns = ordered([*numbers, *_history(runs, tuple)])
    return render(
        "score_table",
        table=table,
        groups=[[by_title[run.label] for run in row.runs] for row in table.rows],
        settings={column: _settings(column, columns) for column in numbers},
        records=_records(table, by_title, numbers),
        changes={column: changes(table, column) for column in table.columns},
    )


def changes(table: ScoreTable, column: Column) -> list[tuple[str, str]]:
    """Return of each row what its value is against the first row's, in words, and whether that is better, worse, or neither.

    A difference of means no larger than the root of their deviations' squares is neither.
    """
    pairs = [mean_and_deviation(values) if (values := row.values(column)) else (math.nan, None) for row in table.rows]
    first, spread = pairs[0]
    told = [("", "")]
    for mean, deviation in pairs[1:]:
        difference = mean - first
        if not math.isfinite(difference) or not first:
            told.append(("", ""))
        elif not difference:
            told.append(("the same", ""))
        else:
            words = f"{'▲' if difference > 0 else '▼'} {percent(abs(difference / first))}"
            if deviation is not None and spread is not None and abs(difference) <= math.hypot(deviation, spread):
                told.append((f"{words}, within the deviations", ""))
            elif column.better in ARROWS:
                kind = "better" if (difference < 0) == (column.better == "lower") else "worse"
                told.append((f"{words} {kind}", kind))
            else:
                told.append((words, ""))
    return told


def classes_section(runs: Sequence[Shown], *, drawn: Collection[Column] = ()) -> Markup:
    """Return bar charts of the generated images' classes and of other scores by class; empty where there is none.

    Args:
        runs: The runs.
        drawn: Histograms that the first screen shows already.
    """
    newest = {
        column: {place: lists[-1] for place, lists in of_runs.items()} for column, of_runs in _history(runs, tuple).items()
    }
    charts = [
        (_title(column, newest), *_class_charts(runs, column, lists)) for column, lists in newest.items() if column not in drawn
    ]
    return render("classes", charts=charts) if charts else Markup()


def _history(runs: Sequence[Shown], kind: type[_Kind]) -> dict[Column, dict[int, list[tuple[int, _Kind]]]]:
    """Return column -> run's place -> iterations and values, of those that are numbers or of those that are lists."""
    history: dict[Column, dict[int, list[tuple[int, _Kind]]]] = {}
    for run in runs:
        for iteration, values in evaluations(run.data).items():
            for column, value in values.items():
                if isinstance(value, kind):
                    history.setdefault(column, {}).setdefault(run.place, []).append((iteration, value))
    return {column: history[column] for column in ordered(history)}


def _title(column: Column, others: Mapping[Column, object]) -> str:
    """Return a column's name, and its protocol where another has the same name."""
    several = sum(other.name == column.name for other in others) > 1
    return f"{column.name} (protocol {column.id})" if several else column.name


def _settings(column: Column, columns: Sequence[Column]) -> str:
    """Return a column's protocol, and in what it differs from others of the score."""
    keys = differing([other.protocol for other in columns if other.name == column.name])
    told = [f"{key} {setting(column.protocol, key)}" for key in keys[:_MOST_SETTINGS]]
    return ", ".join([f"protocol {column.id}", *told])


def _records(
    table: ScoreTable, by_title: Mapping[str, Shown], numbers: Mapping[Column, Mapping[int, Sequence[tuple[int, float]]]]
) -> dict[tuple[str, Column], str]:
    """Return title and column -> when a run's score was better than it is in the table."""
    records = {}
    for scored in (scored for row in table.rows for scored in row.runs):
        for column, value in scored.values.items():
            points = [(n, y) for n, y in numbers[column][by_title[scored.label].place] if math.isfinite(y)]
            if points and column.better in ARROWS:
                n, best = (min if column.better == "lower" else max)(points, key=lambda point: point[1])
                if best != value:
                    records[scored.label, column] = f"best {full(best)} at {short(n)}"
    return records


def _protocols(columns: Sequence[Column]) -> list[tuple[str, list[str], list[tuple[str, list[str], bool]]]]:
    """Return of each metric its label, its protocols' ids, and a row per setting: name, values, whether they differ."""
    tables = []
    for metric in dict.fromkeys(column.metric for column in columns if column.protocol):
        by_key = {column.key: column for column in columns if column.metric == metric and column.protocol}
        protocols = [column.protocol for column in by_key.values()]
        unlike = differing(protocols)
        keys = dict.fromkeys(key for protocol in protocols for key in protocol if key != "id")
        rows = [(key, [setting(protocol, key) for protocol in protocols], key in unlike) for key in keys]
        tables.append((metric, [column.id for column in by_key.values()], rows))
    return tables


def _class_charts(runs: Sequence[Shown], column: Column, lists: Lists) -> tuple[str, Charts]:
    """Return what is said before the charts of a score's lists, and the charts."""
    histogram = column.name.endswith("histogram") and all(
        all(value >= 0 for value in values) and 0 < sum(values) < math.inf for _, values in lists.values()
    )
    if not histogram:
        return "", bar_charts(runs, lists)
    shares = {place: (n, _shares(values)) for place, (n, values) in lists.items()}
    trained = {place: _training_shares(runs[place], len(values)) for place, (_, values) in shares.items()}
    text = "Bars: share of the generated images that the classifier puts in each class. Dashed: all classes alike."
    if any(trained.values()):
        text += " Short lines: the classes' shares of the training data."
    return text, bar_charts(runs, shares, trained)


def _shares(values: Sequence[float]) -> tuple[float, ...]:
    total = sum(values)
    return tuple(value / total for value in values)


def _training_shares(run: Shown, classes: int) -> tuple[float, ...]:
    counts = run.data.class_counts
    usable = len(counts) == classes and all(count >= 0 for count in counts) and 0 < sum(counts) < math.inf
    return _shares(counts) if usable else ()
