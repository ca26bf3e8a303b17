"""The sections on scores: final values, how they were computed, curves, and the classes of generated images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from markupsafe import Markup

from gancore_report.comparison import side_by_side
from gancore_report.formats import full, short
from gancore_report.rendering import render
from gancore_report.scores import ARROWS, Column, ScoreTable, differing, evaluations, ordered, setting
from gancore_report.shown import Charts, Lists, Shown, bar_charts, line_charts

_Kind = TypeVar("_Kind", float, tuple[float, ...])

_MOST_SETTINGS = 3
"""Differing settings of a protocol that are told beside a score's name."""


def scores_section(runs: Sequence[Shown]) -> Markup:
    """Return the table of final values, the protocols, and the curves; empty where there is none."""
    numbers = _history(runs, float)
    if not numbers:
        return Markup()
    by_title = {run.title: run for run in runs}
    data = {title: run.data for title, run in by_title.items()}
    tables = [side_by_side(data)]
    if tables[0].averaged:
        tables.append(side_by_side(data, each=True))
    columns = ordered([*numbers, *_history(runs, tuple)])
    return render(
        "scores",
        tables=[(table, [[by_title[run.label] for run in row.runs] for row in table.rows]) for table in tables],
        settings={column: _settings(column, columns) for column in numbers},
        records=_records(tables[-1], by_title, numbers),
        protocols=_protocols(columns),
        charts=line_charts(runs, [(_title(column, numbers), points) for column, points in numbers.items()], log=True),
    )


def classes_section(runs: Sequence[Shown]) -> Markup:
    """Return bar charts of the generated images' classes and of other scores by class; empty where there is none."""
    newest = {
        column: {place: lists[-1] for place, lists in of_runs.items()} for column, of_runs in _history(runs, tuple).items()
    }
    charts = [(_title(column, newest), *_class_charts(runs, column, lists)) for column, lists in newest.items()]
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
