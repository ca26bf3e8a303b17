"""The section of numbers to download: scores and curves as CSV, and the table of scores as JSON, each in a link of its own."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
from markupsafe import Markup

from gancore_report.reading import Entry, Value
from gancore_report.rendering import render
from gancore_report.scores import evaluations
from gancore_report.scoring import scored, scores_of
from gancore_report.shown import Shown

_MOST_LINES, _MOST_CHARACTERS = 5000, 1_000_000
"""A longer log is thinned out to about so many lines and letters; the run's folder has them all."""


@attrs.frozen
class Download:
    """A file within the page.

    Attributes:
        name: Of the file.
        uri: Its content, a data URI.
        about: What it holds.
    """

    name: str
    uri: str
    about: str


def numbers_section(runs: Sequence[Shown]) -> Markup:
    """Return links to the numbers behind the page; empty where there are none."""
    files = []
    if scored(runs):
        files.append(_file("scores.csv", _scores(runs), "every evaluation's scores, one a line"))
        text = json.dumps(scores_of(runs).json(), indent=2)
        files.append(_file("scores.json", text, "the table of scores: values by run, means, deviations, protocols"))
    for run in runs:
        if run.data.log:
            step, text = _thinned(run.data.log)
            name = re.sub(r"[^\w.-]+", "-", run.title, flags=re.ASCII).strip("-")[:80] or f"run-{run.place}"
            thinned = f", one line of {step} of the log" if step > 1 else ""
            files.append(_file(f"{name}.csv", text, f"losses and monitors of {run.title}{thinned}"))
    return render("numbers", files=files) if files else Markup()


def _thinned(log: Sequence[Entry]) -> tuple[int, str]:
    """Return a log as CSV, and of how many lines it holds one."""
    step = math.ceil(len(log) / _MOST_LINES)
    while len(text := _log(log[::step])) > _MOST_CHARACTERS and step < len(log):
        step *= 2
    return step, text


def _file(name: str, text: str, about: str) -> Download:
    kind = "application/json" if name.endswith(".json") else "text/csv"
    content = base64.b64encode(text.encode("utf-8", "replace")).decode()
    return Download(name, f"data:{kind};charset=utf-8;base64,{content}", about)


def _scores(runs: Sequence[Shown]) -> str:
    lines: list[list[Any]] = [["run", "recipe", "seed", "iteration", "score", "protocol", "better", "value"]]
    for run in runs:
        for iteration, values in evaluations(run.data).items():
            for column, value in values.items():
                facts = [run.title, run.data.name, run.data.seed, iteration]
                lines += [[*facts, name, column.id, column.better, one] for name, one in _single(column.name, value)]
    return _csv(lines)


def _log(log: Sequence[Entry]) -> str:
    rows = [dict(_entry(entry)) for entry in log]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _csv([names, *([row.get(name, "") for name in names] for row in rows)])


def _entry(entry: Entry) -> Iterable[tuple[str, float | int]]:
    yield "iteration", entry.iteration
    for name, value in (("seconds", entry.seconds), ("images_per_second", entry.rate)):
        if value is not None:
            yield name, value
    yield from entry.losses.items()
    for name, several in entry.values.items():
        yield from _single(name, several)


def _single(name: str, value: Value) -> Iterable[tuple[str, float]]:
    """Yield a number, or those of a list, each with its place."""
    if isinstance(value, float):
        yield name, value
    else:
        yield from ((f"{name}[{place}]", one) for place, one in enumerate(value))


def _csv(lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_safe(cell) for cell in line] for line in lines)
    return text.getvalue()


def _safe(cell: Any) -> Any:
    """Return a text that a spreadsheet takes for text; a run's files may hold what it would take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
