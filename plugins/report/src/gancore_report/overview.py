"""The section on what was run: recipe, data, length, device and versions of each run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gancore_report.formats import duration, full, percent, short
from gancore_report.reading import RunData, number
from gancore_report.rendering import render
from gancore_report.shown import Shown
from gancore_report.wall_clock import wall_clock


def overview_section(runs: Sequence[Shown]) -> Markup:
    """Return a table with a column per run; rows that no run fills are left out."""
    rows = {head: [cell(run.data) for run in runs] for head, cell in _ROWS.items() if head != "Summary" or len(runs) > 1}
    return render("overview", runs=runs, rows=[(head, cells) for head, cells in rows.items() if any(cells)])


def _text(value: Any) -> str:
    """Return a setting as text; nothing for what is not there."""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "" if value is None or isinstance(value, dict) else str(value)


def _data(run: RunData) -> str:
    texts = [_text(run.setting("data", "use"))]
    counts = [count for count in run.class_counts if count > 0]
    if counts and sum(counts) < math.inf:
        texts.append(f"{sum(counts):,.0f} images in {len(run.class_counts):,} classes")
        if max(counts) > min(counts):
            texts.append(f"{min(counts):,.0f} to {max(counts):,.0f} per class")
    return ", ".join(filter(None, texts))


def _iterations(run: RunData) -> str:
    planned = run.setting("run", "iterations")
    done = run.iterations
    if isinstance(planned, int) and done < planned:
        return f"{done:,} of {planned:,}"
    return f"{done:,}" if done else ""


def _batch(run: RunData) -> str:
    size, processes = run.setting("run", "batch_size"), run.environment.get("processes")
    several = isinstance(processes, int) and processes > 1
    return f"{_text(size)} over {processes} processes" if several else _text(size)


def _parameters(run: RunData) -> str:
    table = run.environment.get("parameters")
    counts = [(name, number(value)) for name, value in table.items()] if isinstance(table, dict) else []
    return ", ".join(f"{name} {short(float(f'{value:.3g}'))}" for name, value in counts if value is not None)


def _rate(run: RunData) -> str:
    rates = [entry.rate for entry in run.log if entry.rate is not None and math.isfinite(entry.rate)]
    return full(statistics.median(rates), 3) if rates else ""


def _training_time(run: RunData) -> str:
    seconds = run.log[-1].seconds if run.log else None
    return "" if seconds is None else duration(seconds)


def _scoring_time(run: RunData) -> str:
    spent = wall_clock(run.log, run.scores)
    # Without a log it is not known of how much this is a share.
    share = f", {percent(spent.share)} of the wall clock" if run.log and spent.share is not None else ""
    return f"{duration(spent.evaluation)}{share}" if spent.evaluation else ""


def _device(run: RunData) -> str:
    name, threads, precision = (_text(run.environment.get(key)) for key in ("device", "threads", "precision"))
    return ", ".join(filter(None, [name, f"{threads} thread{'s' * (threads != '1')}" if threads else "", precision]))


def _versions(run: RunData) -> str:
    versions = [(name, _text(run.environment.get(name))) for name in ("gancore", "torch", "python")]
    return ", ".join(f"{name} {version}" for name, version in versions if version)


def _plugins(run: RunData) -> str:
    plugins = run.environment.get("plugins")
    if not isinstance(plugins, dict):
        return _text(plugins)
    return ", ".join(_text(version) or name for name, version in plugins.items())


def _items(value: Any) -> list[str] | str:
    """Return a list as texts, none of which is to be broken within itself; nothing for what is not there."""
    return [_text(item) for item in value] if isinstance(value, list) and value else _text(value)


_ROWS: Mapping[str, Callable[[RunData], str | list[str]]] = {
    "Summary": lambda run: _text(run.recipe.get("summary")),
    "Recipes": lambda run: _items(run.environment.get("recipes")),
    "Papers": lambda run: _items(run.environment.get("cites")),
    "Folder": lambda run: str(run.path),
    "Data": _data,
    "Iterations": _iterations,
    "Batch size": _batch,
    "Seed": lambda run: _text(run.seed) if run.recipe.get("run") else "",
    "Parameters": _parameters,
    "Images per second": _rate,
    "Time of training": _training_time,
    "Time of scoring": _scoring_time,
    "Device": _device,
    "Versions": _versions,
    "Plugins": _plugins,
}
