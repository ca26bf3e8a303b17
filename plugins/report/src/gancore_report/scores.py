"""The one table of scores, behind `gancore compare`, `gancore ablate` and the report. Needs no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from gancore_report.reading import RunData, Value
from gancore_report.wall_clock import wall_clock

ARROWS = {"lower": "↓", "higher": "↑"}
"""Stand behind a score's name, by which of its values are better."""

MISSING = "-"
"""Stands where a run has no value."""


@attrs.frozen
class Column:
    """Values that may be compared: of one score, computed by one protocol.

    Attributes:
        name: ``metric/value``.
        key: The protocol as text; where it is not recorded, the run's folder, so that nothing is compared with it.
        protocol: How its values were computed; empty where that is not recorded.
        better: ``lower``, ``higher``, or empty.
    """

    name: str
    key: str
    protocol: Mapping[str, Any] = attrs.field(eq=False)
    better: str = attrs.field(eq=False)

    @property
    def metric(self) -> str:
        """The metric's label."""
        return self.name.split("/")[0]

    @property
    def id(self) -> str:
        """The protocol's id."""
        return str(self.protocol.get("id", "")) or "not recorded"

    @property
    def title(self) -> str:
        """The name, and which of two values is better."""
        return f"{self.name} {ARROWS.get(self.better, '')}".rstrip()


@attrs.frozen
class ScoredRun:
    """A run at one of its evaluations.

    Attributes:
        run: The run.
        label: Its name in the table.
        iteration: Iteration of the evaluation; None where the run has none to show.
        values: Its scores; lists of numbers are left out.
    """

    run: RunData
    label: str
    iteration: int | None
    values: Mapping[Column, float]


@attrs.frozen
class Row:
    """A run, or runs that differ in nothing but their seed, all at the same iteration."""

    label: str
    runs: tuple[ScoredRun, ...]

    def values(self, column: Column) -> list[float]:
        """Return the values of the runs that have one."""
        return [run.values[column] for run in self.runs if column in run.values]


@attrs.frozen
class Cell:
    """The mean of a row's values as text, what stands behind it, and whether it is the best of its column."""

    mean: str
    rest: str
    best: bool


@attrs.frozen
class ScoreTable:
    """Scores of runs, in which only what may be compared shares a column.

    Attributes:
        title: What is shown, in words.
        rows: The rows, in their order.
        remarks: What the reader must know, a sentence each.
        head: What a row is.
        alike: Whether iteration and seeds are the same in all rows, so that the title says them and no columns do.
        newest: Whether the evaluations are each run's last ones, so that it matters whether the training had ended.
    """

    title: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()
    head: str = "run"
    alike: bool = False
    newest: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns; those of one score side by side."""
        return ordered(column for row in self.rows for run in row.runs for column in run.values)

    @property
    def averaged(self) -> bool:
        """Whether some row holds several runs."""
        return any(len(row.runs) > 1 for row in self.rows)

    @property
    def notes(self) -> tuple[str, ...]:
        """Why a metric's values stand in several columns, and the remarks."""
        return (*_splits(self.columns, self.rows), *self.remarks)

    def caption(self, best: str) -> str:
        """Return what the cells are, and how the best of a column is marked, where one is."""
        texts = [self.title]
        if self.averaged:
            texts.append("mean ± sample deviation over seeds")
        if any(cell.best for column in self.columns for cell in self.cells(column)):
            texts.append(best)
        return "; ".join(texts)

    def leading(self) -> tuple[list[str], list[list[str]]]:
        """Return the header of the columns before the scores, and their cells of each row."""
        if self.alike:
            return [self.head], [[row.label] for row in self.rows]
        seeds = [str(len(row.runs) if self.averaged else row.runs[0].run.seed) for row in self.rows]
        lines = [[row.label, self._iteration(row), seed] for row, seed in zip(self.rows, seeds, strict=True)]
        return [self.head, "iteration", "seeds" if self.averaged else "seed"], lines

    def cells(self, column: Column) -> list[Cell]:
        """Return the cell of each row, with as many decimals each."""
        values = [row.values(column) for row in self.rows]
        pairs = [mean_and_deviation(numbers) if numbers else (math.nan, None) for numbers in values]
        digits = decimals([mean for mean, _ in pairs])
        # A score that was computed otherwise stands in another column, which is no lack of it.
        elsewhere = [any(o.name == column.name and row.values(o) for o in self.columns) for row in self.rows]
        blanks = ["" if other else MISSING for other in elsewhere]
        means = [f"{mean:.{digits}f}" if n else blank for (mean, _), n, blank in zip(pairs, values, blanks, strict=True)]
        rests = ["" if deviation is None else f" ± {deviation:.{digits}f}" for _, deviation in pairs]
        for place, (row, numbers) in enumerate(zip(self.rows, values, strict=True)):
            if 0 < len(numbers) < len(row.runs):
                rests[place] += f" ({len(numbers)} of {len(row.runs)})"
        best = _best([mean if numbers else "nan" for mean, numbers in zip(means, values, strict=True)], column.better)
        return [Cell(*cell) for cell in zip(means, rests, best, strict=True)]

    def json(self) -> dict[str, Any]:
        """Return every value by run, means and deviations, and how the values were computed."""
        protocols: dict[str, dict[str, Any]] = {}
        for column in self.columns:
            if column.protocol:
                protocols.setdefault(column.metric, {})[column.id] = dict(column.protocol)
        rows = [self._row_as_json(row) for row in self.rows]
        return {"title": self.title, "rows": rows, "protocols": protocols, "notes": list(self.notes)}

    def _iteration(self, row: Row) -> str:
        iteration, planned = row.runs[0].iteration, row.runs[0].run.setting("run", "iterations")
        if iteration is None:
            return MISSING
        ended = not self.newest or not isinstance(planned, int) or iteration >= planned
        return str(iteration) if ended else f"{iteration} of {planned}"

    def _row_as_json(self, row: Row) -> dict[str, Any]:
        scores = []
        for column in self.columns:
            if values := row.values(column):
                mean, deviation = mean_and_deviation(values)
                score = {"score": column.name, "protocol": column.id, "better": column.better or None}
                scores.append({**score, "mean": mean, "deviation": deviation, "number": len(values)})
        runs = [_run_as_json(run) for run in row.runs]
        return {"name": row.label, "iteration": row.runs[0].iteration if row.runs else None, "scores": scores, "runs": runs}


def evaluations(run: RunData) -> dict[int, dict[Column, Value]]:
    """Return iteration -> column -> value; where a run was scored again, the newest value of a score counts."""
    scores: dict[int, dict[str, tuple[Column, Value]]] = {}
    for entry in run.scores:
        for name, value in entry.values.items():
            protocol = entry.protocols.get(name.split("/")[0], {})
            key = json.dumps(protocol, sort_keys=True) if protocol else str(run.path.resolve())
            column = Column(name, key, protocol, entry.better.get(name, ""))
            scores.setdefault(entry.iteration, {})[name] = (column, value)
    return {iteration: dict(values.values()) for iteration, values in sorted(scores.items())}


def single_numbers(values: Mapping[Column, Value]) -> dict[Column, float]:
    """Return the scores that are single numbers."""
    return {column: value for column, value in values.items() if isinstance(value, float)}


def ordered(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return each column once; those of one score side by side."""
    distinct = dict.fromkeys(columns)
    order = {name: place for place, name in enumerate(dict.fromkeys(column.name for column in distinct))}
    return tuple(sorted(distinct, key=lambda column: order[column.name]))


def differing(protocols: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings, but for the id, that are not the same in all protocols."""
    keys = dict.fromkeys(key for protocol in protocols for key in protocol if key != "id")
    return [key for key in keys if len({setting(protocol, key) for protocol in protocols}) > 1]


def setting(protocol: Mapping[str, Any], key: str) -> str:
    """Return a setting of a protocol as text."""
    value = protocol.get(key, MISSING)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample deviation, which one value has none of."""
    mean = _sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    # A product overflows to infinity where a power raises.
    return mean, math.sqrt(_sum([(value - mean) * (value - mean) for value in values]) / (len(values) - 1))


def decimals(values: Sequence[float]) -> int:
    """Return with how many decimals a column is written: four digits of its largest value, six decimals at most."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return min(6, max(0, 3 - math.floor(math.log10(largest)))) if largest else 4


def in_words(words: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), words[-1]])


def _splits(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Return a sentence on each metric whose values stand in several columns, and why."""
    notes = []
    for metric in dict.fromkeys(column.metric for column in columns):
        by_key = {column.key: column for column in columns if column.metric == metric}
        known = [column for column in by_key.values() if column.protocol]
        if len(known) > 1:
            protocols = [column.protocol for column in known]
            unlike = [f"{key} ({', '.join(setting(p, key) for p in protocols)})" for key in differing(protocols)]
            notes.append(
                f"{metric}: the protocols {in_words([column.id for column in known])} differ in "
                f"{', '.join(unlike) or 'their id'}, so their values stand in columns of their own and can't be compared with "
                "each other."
            )
        for column in by_key.values():
            if not column.protocol:
                runs = (run for row in rows for run in row.runs)
                label = next(run.label for run in runs if any(own.key == column.key for own in run.values))
                notes.append(
                    f"{metric}: how the values of {label} were computed is not recorded, so nothing compares with them."
                )
    return notes


def _best(means: Sequence[str], better: str) -> list[bool]:
    """Return whether each mean, as it is written, is the best; of fewer than two, or of equal ones, none is."""
    values = [float(mean) for mean in means]
    finite = [value for value in values if math.isfinite(value)]
    if better not in ARROWS or len(set(finite)) < 2:
        return [False] * len(means)
    wanted = min(finite) if better == "lower" else max(finite)
    return [value == wanted for value in values]


def _run_as_json(scored: ScoredRun) -> dict[str, Any]:
    spent = wall_clock(scored.run.log, scored.run.scores)
    return {
        "folder": str(scored.run.path),
        "recipe": scored.run.environment.get("recipe_name"),
        "seed": scored.run.seed,
        "iterations": scored.run.setting("run", "iterations"),
        "training_seconds": spent.training,
        "evaluation_seconds": spent.evaluation,
        "values": [{"score": column.name, "protocol": column.id, "value": v} for column, v in scored.values.items()],
    }


def _sum(values: Sequence[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # infinities of both signs, or a sum beyond the largest float
        return sum(values)
