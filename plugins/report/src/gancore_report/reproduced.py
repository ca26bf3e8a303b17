"""A paper's table with ours beside it, as text, Markdown and JSON. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import attrs

from gancore_report.formats import duration
from gancore_report.intervals import mean_and_interval
from gancore_report.paper_tables import PaperRow, PaperTable, Quantity
from gancore_report.reading import RunData
from gancore_report.scores import ARROWS, MISSING, Column, decimals, in_words
from gancore_report.tables import markdown, plain, unmarked, wrapped
from gancore_report.wall_clock import wall_clock


@attrs.frozen
class Value:
    """What a run has of a column, as it is shown, and how it was made."""

    number: float
    column: Column


@attrs.frozen
class Reproduced:
    """A paper's table with ours beside it.

    Attributes:
        table: The paper's.
        runs: Label of each row that has finished runs -> these, and their values by column's title.
        pending: Label of each row that lacks runs of its seeds -> these seeds.
        remarks: What could not be computed, a sentence each.
    """

    table: PaperTable
    runs: Mapping[str, Sequence[tuple[RunData, Mapping[str, Value]]]]
    pending: Mapping[str, Sequence[int]] = attrs.field(factory=dict)
    remarks: tuple[str, ...] = ()

    def text(self, widest: int | None = None) -> str:
        """Return it for a terminal whose lines have so many characters; without a number, no line is broken."""
        notes = [wrapped(f"- {note}", widest) for note in self._notes()]
        return "\n".join([wrapped(self._title(), widest), "", *plain(self._lines(), widest), "", *notes])

    def markdown(self) -> str:
        """Return it in Markdown."""
        header, below, *lines = self._lines()
        joined = [f"{a} ({b})" if b else a for a, b in zip(header, below, strict=True)]
        notes = [f"- {unmarked(note)}" for note in self._notes()]
        return "\n".join([unmarked(self._title()), "", *markdown(joined, lines), "", *notes]) + "\n"

    def json(self) -> dict[str, Any]:
        """Return every value by run, the paper's, and how they were made."""
        protocols = {key.id: dict(key.protocol) for column in self.table.columns for key in self._keys(column)}
        return {
            "table": self.table.name,
            "size": self.table.size,
            "source": self.table.source,
            "cite": self.table.cite,
            "rows": [self._row_as_json(row) for row in self.table.rows],
            "protocols": protocols,
            "hardware": self._hardware(),
            "pending": {label: list(seeds) for label, seeds in self.pending.items()},
            "notes": self._notes(),
        }

    # -- cells ---------------------------------------------------------------------------------------------------------

    def _keys(self, column: Quantity) -> list[Column]:
        """Return how a column's values were made; what differs stands in a column of its own."""
        return list(dict.fromkeys(values[column.title].column for _, values in self._all() if column.title in values))

    def _prints(self, column: Quantity) -> bool:
        """Return whether the paper prints a value of a column in any row."""
        return any(column.title in row.printed for row in self.table.rows)

    def _all(self) -> Iterator[tuple[RunData, Mapping[str, Value]]]:
        for runs in self.runs.values():
            yield from runs

    def _of(self, row: PaperRow, title: str, key: Column) -> list[float]:
        runs = self.runs.get(row.label, ())
        return [values[title].number for _, values in runs if title in values and values[title].column == key]

    def _lines(self) -> list[list[str]]:
        """Return the header, the line below it, and the rows, each after the line of its panel where that begins."""
        header, below, cells = ["row"], [""], [list[str]() for _ in self.table.rows]
        for column in self.table.columns:
            keys, printed = self._keys(column), self._prints(column)
            arrow = next((ARROWS[key.better] for key in keys if key.better in ARROWS and column.factor > 0), "")
            subtitles = [*["paper"] * printed, *(f"ours, protocol {key.id}" for key in keys)]
            header += [f"{column.title} {'' if place else arrow}".rstrip() for place, _ in enumerate(subtitles)]
            below += subtitles
            for place, shown in enumerate(self._column(column, keys)):
                cells[place] += shown if printed else shown[1:]
        lines, panel = [header, below], ""
        for row, shown in zip(self.table.rows, cells, strict=True):
            if row.panel != panel:
                panel = row.panel
                lines.append([panel, *[""] * (len(header) - 1)])
            lines.append([row.name, *shown])
        return lines

    def _column(self, column: Quantity, keys: Sequence[Column]) -> Iterator[list[str]]:
        """Yield of each row the paper's cell and ours, each of these with as many decimals as the others of its column."""
        ours = [[self._of(row, column.title, key) for key in keys] for row in self.table.rows]
        digits = [decimals([mean_and_interval(row[k])[0] for row in ours if row[k]]) for k in range(len(keys))]
        figures = [row.printed.get(column.title) for row in self.table.rows]
        as_printed = max((_decimals(number) for figure in figures for number in figure or ()), default=0)
        for figure, values in zip(figures, ours, strict=True):
            printed = MISSING if figure is None else _with_margin(figure, as_printed)
            yield [
                printed,
                *(_with_margin(mean_and_interval(v), d) if v else MISSING for v, d in zip(values, digits, strict=True)),
            ]

    # -- words ---------------------------------------------------------------------------------------------------------

    def _title(self) -> str:
        table = self.table
        return f"{table.name} at size {table.size}: {table.title} ({table.source}, {table.cite})"

    def _notes(self) -> list[str]:
        table = self.table
        notes = [f"The paper: {table.printed_protocol}.", f"Ours: {table.protocol}."]
        if self.runs:
            counts = sorted({len(runs) for runs in self.runs.values()})
            seeds = f"{in_words([str(n) for n in counts])} seed{'s' * (counts != [1])}"
            notes.append(
                f"Ours are means over {seeds}, ± half the width of the mean's 95 % interval by Student's t (none of one seed)."
            )
            notes.append(f"Hardware: {self._hardware()}.")
        if self.pending:
            notes.append(f"Not trained, or not to their ends: {self._lacking()}. {self._time()}")
        empty = [f'"{column.title}"' for column in table.columns if not self._prints(column) and not self._keys(column)]
        if empty:
            columns = f"column{'s' * (len(empty) > 1)} {in_words(empty)}"
            notes.append(f"Left out: the {columns}, of which the paper prints nothing and no run has a score.")
        return [*notes, *self.remarks]

    def _lacking(self) -> str:
        """Return which runs are pending, rows of the same seeds together."""
        rows: dict[tuple[int, ...], list[str]] = {}
        for label, seeds in self.pending.items():
            rows.setdefault(tuple(seeds), []).append(label)
        whole = {row.label for row in self.table.rows if row.trained is not None} == set(self.pending)
        return "; ".join(
            f"seed{'s' * (len(seeds) > 1)} {in_words(list(map(str, seeds)))} of "
            + ("every row that can be trained" if whole and len(rows) == 1 else in_words([f'"{label}"' for label in labels]))
            for seeds, labels in rows.items()
        )

    def _time(self) -> str:
        """Return about how long the pending runs take: of each row as its others took, or as those of all rows."""
        taken = {label: [_seconds(run) for run, _ in runs] for label, runs in self.runs.items()}
        every = [seconds for each in taken.values() for seconds in each]
        if not every:
            return "How long they take is said as soon as one has ended."
        seconds = sum(len(seeds) * fmean(taken.get(label) or every) for label, seeds in self.pending.items())
        done = f"the {len(every)} that have" if len(every) > 1 else "the one that has"
        return f"They take about {duration(float(f'{seconds:.2g}'))}, going by {done} ended."

    def _hardware(self) -> str:
        """Return what the runs were computed on."""
        return "; ".join(dict.fromkeys(_machine(run) for run, _ in self._all()))

    def _row_as_json(self, row: PaperRow) -> dict[str, Any]:
        runs = [
            {
                "folder": str(run.path),
                "seed": run.seed,
                "values": [
                    {"column": title, "protocol": value.column.id, "value": value.number} for title, value in values.items()
                ],
            }
            for run, values in self.runs.get(row.label, ())
        ]
        printed = {title: list(figure) for title, figure in row.printed.items()}
        ours = [
            {"column": column.title, "protocol": key.id, "mean": mean, "interval": half, "number": len(values)}
            for column in self.table.columns
            for key in self._keys(column)
            if (values := self._of(row, column.title, key))
            for mean, half in [mean_and_interval(values)]
        ]
        return {"panel": row.panel, "name": row.name, "printed": printed, "ours": ours, "runs": runs}


def _seconds(run: RunData) -> float:
    spent = wall_clock(run.log, run.scores)
    return spent.training + spent.evaluation


def _with_margin(figure: tuple[float, float | None], digits: int) -> str:
    """Return a value and its margin, where it has one."""
    return " ± ".join(f"{number:.{digits}f}" for number in figure if number is not None)


def _decimals(number: float | None) -> int:
    """Return with how many decimals a number was written, at least; its last zeros are forgotten."""
    return 0 if number is None else len(f"{number:g}".partition(".")[2])


def _machine(run: RunData) -> str:
    environment = run.environment
    device, threads, torch, precision = (environment.get(key, "?") for key in ("device", "threads", "torch", "precision"))
    return f"{device}, {threads} thread{'s' * (threads != 1)} a run, torch {torch}, {precision}"
