"""The sections on what the log tells: losses, and monitors of the loss terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup

from gancore_report.curves import Point, window_of
from gancore_report.reading import Entry, Value
from gancore_report.rendering import render
from gancore_report.shown import Shown, bar_charts, line_charts


def losses_section(runs: Sequence[Shown]) -> Markup:
    """Return the curves of the players' losses, ``player/term``; empty where none is logged."""
    curves = _over_time(runs, lambda entry: entry.losses)
    if not curves:
        return Markup()
    smoothed = window_of([len(run.data.log) for run in runs]) > 1
    return render("losses", charts=line_charts(runs, list(curves.items()), smooth=True), smoothed=smoothed)


def monitors_section(runs: Sequence[Shown]) -> Markup:
    """Return the curves of monitors that are numbers, and bars of the newest of those that are lists; empty without any."""
    curves = _over_time(runs, lambda entry: entry.values)
    lists: dict[str, dict[int, tuple[int, tuple[float, ...]]]] = {}
    for run in runs:
        for entry in run.data.log:
            for name, value in entry.values.items():
                if isinstance(value, tuple):
                    lists.setdefault(name, {})[run.place] = (entry.iteration, value)
    if not curves and not lists:
        return Markup()
    bars = {name: bar_charts(runs, newest) for name, newest in lists.items()}
    return render("monitors", charts=line_charts(runs, list(curves.items()), log=True), lists=bars)


def _over_time(runs: Sequence[Shown], values: Callable[[Entry], Mapping[str, Value]]) -> dict[str, dict[int, list[Point]]]:
    """Return name -> run's place -> points, where the value is a single number."""
    curves: dict[str, dict[int, list[Point]]] = {}
    for run in runs:
        for entry in run.data.log:
            for name, value in values(entry).items():
                if isinstance(value, float):
                    curves.setdefault(name, {}).setdefault(run.place, []).append((float(entry.iteration), value))
    return curves
