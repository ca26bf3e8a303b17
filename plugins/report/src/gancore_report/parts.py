"""What the sections of the page share: the runs as they are named there, and pieces of HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape

import attrs

from gancore_report.charts import LARGEST, Curve, Point, badge, letter, line_chart
from gancore_report.reading import RunData

NOTHING = "\N{EN DASH}"
"""Stands where a run has no value."""


@attrs.frozen
class Shown:
    """A run as the page shows it.

    Attributes:
        place: Its place among the runs, which gives its letter and color.
        label: Its name on the page, unlike any other run's.
        data: What its folder tells.
        alone: Whether it is the only run.
    """

    place: int
    label: str
    data: RunData
    alone: bool

    @property
    def head(self) -> str:
        """Letter and label, as HTML; for a run alone the label."""
        return escape(self.label) if self.alone else f"{badge(self.place)} {escape(self.label)}"

    @property
    def title(self) -> str:
        """Letter and label, as text; for a run alone the label."""
        return self.label if self.alone else f"{letter(self.place)} {self.label}"


def named(runs: Sequence[RunData]) -> list[Shown]:
    """Return the runs with labels: the recipe's name, and the folder's where recipes are the same."""
    names = Counter(run.name for run in runs)
    labels = [run.name if names[run.name] == 1 else f"{run.name} ({run.path.resolve().name})" for run in runs]
    again = Counter(labels)
    labels = [label if again[label] == 1 else f"{run.name} ({run.path})" for label, run in zip(labels, runs, strict=True)]
    return [Shown(place, label, run, len(runs) == 1) for place, (label, run) in enumerate(zip(labels, runs, strict=True))]


def table(runs: Sequence[Shown], rows: Iterable[tuple[str, Sequence[str]]], kind: str = "") -> str:
    """Return a table with a column per run.

    Args:
        runs: The runs.
        rows: Head and cells of each row, as HTML; a cell may be a whole ``<td>``.
        kind: CSS class of the table.
    """
    heads = "".join(f"<th>{run.head}</th>" for run in runs)
    body = "".join(
        f"<tr><th>{head}</th>{''.join(c if c.startswith('<td') else f'<td>{c}</td>' for c in cells)}</tr>"
        for head, cells in rows
    )
    return (
        f'<div class="wide"><table class="{kind}"><thead><tr><th></th>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def details(summary: str, body: str) -> str:
    """Return HTML that opens at a click; the summary is text."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def curves(
    runs: Sequence[Shown], found: Sequence[tuple[str, dict[int, list[Point]]]], *, smooth: bool = False, log: bool = False
) -> str:
    """Return line charts, side by side; what has fewer than two values in every run is named instead of drawn.

    Args:
        runs: The runs.
        found: Title of each chart, and the points of each run by its place.
        smooth: As for `line_chart`.
        log: As for `line_chart`.
    """
    last = max((run.data.iterations for run in runs), default=0)
    charts, single, never = [], [], []
    for title, points in found:
        drawable = [sum(abs(y) < LARGEST for _, y in of_run) for of_run in points.values()]
        if max(drawable, default=0) == 0:
            never.append(title)
        elif max(map(len, points.values())) < 2:
            single.append(title)
        else:
            lines = [Curve(run.place, run.label, points[run.place]) for run in runs if run.place in points]
            charts.append(line_chart(title, lines, last, smooth=smooth, log=log, legend=len(runs) > 1))
    html = f'<div class="charts">{"".join(charts)}</div>' if charts else ""
    if single:
        html += f'<p class="soft">One value only, so no curve: {escape(", ".join(single))}.</p>'
    if never:
        html += f'<p class="warn">Never finite, so no curve: {escape(", ".join(never))}.</p>'
    return html
