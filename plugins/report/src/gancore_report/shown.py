"""Runs as the page shows them, and the charts that have a curve or bars of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs
from markupsafe import Markup

from gancore_report.axes import LARGEST, bar_axis
from gancore_report.charts import badge, bar_chart, letter, line_chart, names_fit
from gancore_report.curves import Curve, Point
from gancore_report.formats import full
from gancore_report.paths import told_apart
from gancore_report.reading import RunData

MOST_CLASSES = 40
"""With more classes, their names are not listed below a chart."""

Lists = Mapping[int, tuple[int, tuple[float, ...]]]
"""Run's place -> iteration -> numbers."""


@attrs.frozen
class Shown:
    """A run as the page shows it.

    Attributes:
        place: Its place among the runs, which gives its letter and color.
        label: Its name on the page: the recipe's, and where runs have the same the folder's.
        data: What its folder tells.
        alone: Whether it is the only run.
    """

    place: int
    label: str
    data: RunData
    alone: bool

    @property
    def badge(self) -> Markup:
        """Its letter on its color; nothing for a run alone."""
        return Markup() if self.alone else badge(self.place)

    @property
    def title(self) -> str:
        """Letter and label, as text, unlike any other run's; for a run alone the label."""
        return self.label if self.alone else f"{letter(self.place)} {self.label}"


@attrs.frozen
class Charts:
    """Charts side by side, and what is said about those that were not drawn.

    Attributes:
        drawn: The charts.
        single: Names of what has one value only, so no curve.
        never: Names of what is never finite.
        constant: What never changes, in words: its name, and its value in each run.
        keys: Which number is which class, where the bars bear numbers.
    """

    drawn: Sequence[Markup]
    single: Sequence[str] = ()
    never: Sequence[str] = ()
    constant: Sequence[str] = ()
    keys: Sequence[str] = ()


def named(runs: Sequence[RunData]) -> list[Shown]:
    """Return the runs with labels: the recipe's name, and the folder's where recipes are the same."""
    names = Counter(run.name for run in runs)
    pairs = zip(runs, told_apart([run.path for run in runs]), strict=True)
    labels = [run.name if names[run.name] == 1 else f"{run.name} ({folder})" for run, folder in pairs]
    return [Shown(place, label, run, len(runs) == 1) for place, (label, run) in enumerate(zip(labels, runs, strict=True))]


def line_charts(
    runs: Sequence[Shown],
    curves: Sequence[tuple[str, Mapping[int, Sequence[Point]]]],
    *,
    smooth: bool = False,
    log: bool = False,
) -> Charts:
    """Return line charts; what has fewer than two values in every run, or never changes in any, is told instead of drawn.

    Args:
        runs: The runs.
        curves: Title of each chart, and the points of each run by its place.
        smooth: As for `line_chart`.
        log: As for `line_chart`.
    """
    last = max((run.data.iterations for run in runs), default=0)
    drawn, single, never, constant = [], [], [], []
    for title, points in curves:
        if not any(abs(y) < LARGEST for of_run in points.values() for _, y in of_run):
            never.append(title)
        elif max(map(len, points.values())) < 2:
            single.append(title)
        elif all(len({y for _, y in of_run}) == 1 for of_run in points.values()):
            values = {letter(place): full(of_run[0][1]) for place, of_run in points.items()}
            each = ", ".join(f"{run} {value}" for run, value in values.items())
            constant.append(f"{title}: {each if len(set(values.values())) > 1 else next(iter(values.values()))}")
        else:
            lines = [Curve(run.place, run.label, points[run.place]) for run in runs if run.place in points]
            drawn.append(line_chart(title, lines, last, smooth=smooth, log=log, legend=len(runs) > 1, named=False))
    return Charts(drawn, single, never, constant)


def bar_charts(runs: Sequence[Shown], lists: Lists, markers: Mapping[int, Sequence[float]] | None = None) -> Charts:
    """Return a bar chart of each run's numbers, with the same axis.

    Args:
        runs: The runs.
        lists: The numbers.
        markers: Of numbers that are shares of one: what is marked beside each, in percent as they are.
    """
    shares = markers is not None
    beside = markers or {}
    axis = bar_axis([value for _, values in lists.values() for value in values] + [v for m in beside.values() for v in m])
    classes = {len(known) for run in runs for known in (run.data.class_names, run.data.class_counts)}
    drawn = [
        bar_chart(
            runs[place].title,
            values,
            axis,
            run=place,
            names=runs[place].data.class_names,
            shares=shares,
            level=1 / len(values) if shares else None,
            markers=beside.get(place, ()),
            note=f"iteration {n:,}",
            below="class" if shares or len(values) in classes else "entry",
        )
        for place, (n, values) in lists.items()
    ]
    several = dict.fromkeys(run.data.class_names for run in runs)
    keys = [
        ", ".join(f"{place} {name}" for place, name in enumerate(names))
        for names in several
        if 0 < len(names) <= MOST_CLASSES and not names_fit(names)
    ]
    return Charts(drawn, keys=keys)
