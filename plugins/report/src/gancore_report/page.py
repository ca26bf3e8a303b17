"""The report's page: a frame around its sections, all in one file that loads nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from gancore.tools import wall_clock
from gancore_report.numbers import duration, full, percent, short
from gancore_report.parts import NOTHING, Shown, curves, details, named, table
from gancore_report.reading import Entry, RunData, Value, number, picture
from gancore_report.recipes import recipes_section
from gancore_report.robustness import robustness_section
from gancore_report.scoring import classes_section, list_charts, scores_section
from gancore_report.style import CSS

_PAST = 6
"""Sample grids shown of a run's past."""

_NAMES = 20
"""Class names listed below the samples."""

# Nothing on the page may load or run anything, whatever a run's files hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(runs: Sequence[RunData]) -> str:
    """Return the page on one or more runs, as HTML."""
    shown = named(runs)
    sections = [
        ("Runs", _overview(shown)),
        ("Scores", scores_section(shown)),
        ("Robustness", robustness_section(shown)),
        ("Classes", classes_section(shown)),
        ("Samples", _samples(shown)),
        ("Losses", _losses(shown)),
        ("Monitors", _monitors(shown)),
        ("Recipes", recipes_section(shown)),
    ]
    kept = [(title, html) for title, html in sections if html]
    title = shown[0].label if len(shown) == 1 else f"{len(shown)} runs"
    if 1 < len(shown) <= 4:
        title += f": {', '.join(run.label for run in shown)}"
    summary = shown[0].data.recipe.get("summary") if len(shown) == 1 else None
    links = "".join(f'<a href="#{title.lower()}">{title}</a>' for title, _ in kept)
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>"
        f"<h1>{escape(title)}</h1>"
        + (f'<p class="soft">{escape(summary)}</p>' if isinstance(summary, str) else "")
        + f"<nav>{links}</nav>"
        + "".join(f'<section><h2 id="{title.lower()}">{title}</h2>{html}</section>' for title, html in kept)
        + "</body></html>\n"
    )
    # JSON may hold half a surrogate pair, which has no form in UTF-8.
    return page.encode("utf-8", "replace").decode("utf-8")


def _overview(runs: Sequence[Shown]) -> str:
    rows: list[tuple[str, Callable[[RunData], str]]] = [
        ("Summary", lambda run: _text(run.recipe.get("summary"))),
        ("Made of", lambda run: _text(run.environment.get("recipes"))),
        ("Folder", lambda run: str(run.path)),
        ("Data", _data),
        ("Iterations", _iterations),
        ("Batch size", _batch),
        ("Seed", _seed),
        ("Parameters", _parameters),
        ("Images per second", _rate),
        ("Time of training", lambda run: _time(run.log[-1].seconds) if run.log else ""),
        ("Time of scoring", _scoring),
        ("Device", _device),
        ("Versions", _versions),
        ("Plugins", lambda run: _plugins(run.environment.get("plugins"))),
    ]
    filled = [(head, [escape(cell(run.data)) for run in runs]) for head, cell in rows]
    single = len(runs) == 1
    kept = [(head, cells) for head, cells in filled if any(cells) and not (single and head == "Summary")]
    if any(run.data.notes for run in runs):
        kept.append(("Notes", [_notes(run.data) for run in runs]))
    return table(runs, [(head, [cell or NOTHING for cell in cells]) for head, cells in kept])


def _notes(run: RunData) -> str:
    return '<span class="warn">' + "<br>".join(map(escape, run.notes)) + "</span>" if run.notes else ""


def _text(value: Any) -> str:
    """Return a setting as text; nothing for what is not there."""
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "" if value is None or isinstance(value, dict) else str(value)


def _data(run: RunData) -> str:
    parts = [_text(run.setting("data", "use"))]
    counts = [count for count in run.class_counts if count > 0]
    if counts and sum(counts) < math.inf:
        parts.append(f"{sum(counts):,.0f} images in {len(run.class_counts):,} classes")
        if max(counts) > min(counts):
            parts.append(f"{min(counts):,.0f} to {max(counts):,.0f} per class")
    return ", ".join(filter(None, parts))


def _iterations(run: RunData) -> str:
    planned = run.setting("run", "iterations")
    done = run.iterations
    if isinstance(planned, int) and done < planned:
        return f"{done:,} of {planned:,}"
    return f"{done:,}" if done else ""


def _seed(run: RunData) -> str:
    # A recipe that sets none has the default's.
    return _text(run.recipe["run"].get("seed", 0)) if isinstance(run.recipe.get("run"), dict) else ""


def _batch(run: RunData) -> str:
    size, processes = run.setting("run", "batch_size"), run.environment.get("processes")
    several = isinstance(processes, int) and processes > 1
    return f"{_text(size)} over {processes} processes" if several else _text(size)


def _parameters(run: RunData) -> str:
    found = run.environment.get("parameters")
    items = found.items() if isinstance(found, dict) else ()
    counts = [(name, number(value)) for name, value in items]
    return ", ".join(f"{name} {short(float(f'{value:.3g}'))}" for name, value in counts if value is not None)


def _rate(run: RunData) -> str:
    rates = [entry.rate for entry in run.log if entry.rate is not None and math.isfinite(entry.rate)]
    return full(statistics.median(rates), 3) if rates else ""


def _time(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _scoring(run: RunData) -> str:
    spent = wall_clock(run.log, run.scores)
    # Without a log it is not known of how much this is a share.
    share = f", {percent(spent.share)} of the wall clock" if run.log and spent.share is not None else ""
    return f"{duration(spent.evaluation)}{share}" if spent.evaluation else ""


def _device(run: RunData) -> str:
    name, threads, precision = (_text(run.environment.get(key)) for key in ("device", "threads", "precision"))
    return ", ".join(filter(None, [name, f"{threads} threads" if threads else "", precision]))


def _versions(run: RunData) -> str:
    found = [(name, _text(run.environment.get(name))) for name in ("gancore", "torch", "python")]
    return ", ".join(f"{name} {version}" for name, version in found if version)


def _plugins(found: Any) -> str:
    if not isinstance(found, dict):
        return _text(found)
    return ", ".join(_text(version) or name for name, version in found.items())


def _samples(runs: Sequence[Shown]) -> str:
    last, past, damaged = "", "", ""
    for run in runs:
        readable = []
        for n, path in _spread(run.data.samples):
            shown = picture(path, 1200)
            if shown is None:
                damaged += f'<p class="warn">{escape(run.title)}: {path.name} is damaged and was passed over.</p>'
            else:
                readable.append((n, shown))
        if not readable:
            continue
        last += _picture(f"{run.head} <span class='note'>iteration {readable[-1][0]:,}</span>", *readable[-1][1], run.title)
        if len(readable) > 1:
            grids = "".join(_picture(f"iteration {n:,}", *shown, f"{run.title} at {n:,}") for n, shown in readable)
            past += details(f"Over the training: {run.title}", f'<div class="pictures past">{grids}</div>')
    return damaged + (f'<div class="pictures">{last}</div>{_asked_for(runs)}{past}' if last else "")


def _spread(samples: Sequence[Any]) -> list[Any]:
    """Return the last and, evenly spaced, others before it, first included."""
    if len(samples) <= _PAST:
        return list(samples)
    return [samples[round(place * (len(samples) - 1) / (_PAST - 1))] for place in range(_PAST)]


def _picture(caption: str, uri: str, width: int, height: int, alt: str) -> str:
    """Return a picture with a caption, which is HTML."""
    image = f'<img src="{uri}" width="{width}" height="{height}" alt="{escape("samples of " + alt)}">'
    return f"<figure><figcaption>{caption}</figcaption>{image}</figure>"


def _asked_for(runs: Sequence[Shown]) -> str:
    """Return in which order a conditional generator was asked for the classes."""
    texts = dict.fromkeys(
        ", ".join(run.data.class_names[:_NAMES])
        + (" and so on" if len(run.data.class_names) > _NAMES else ", and from the first again")
        for run in runs
        if len(run.data.class_names) > 1
    )
    return "".join(
        f'<p class="note">Classes asked for, where the generator takes a class: {escape(text)}.</p>' for text in texts
    )


def _losses(runs: Sequence[Shown]) -> str:
    names = dict.fromkeys(name for run in runs for entry in run.data.log for name in entry.losses)
    players = dict.fromkeys(name.split("/")[0] for name in names)
    html = ""
    for player in players:
        found = [
            (name.removeprefix(f"{player}/"), _over_time(runs, name, lambda entry: entry.losses))
            for name in names
            if name.split("/")[0] == player
        ]
        html += f"<h3>{escape(player)}</h3>" + curves(runs, found, smooth=True)
    text = "Lines: moving average over a fortieth of the longest log. Faint: each line of the log."
    return f'<p class="soft">{text}</p>{html}' if html else ""


def _monitors(runs: Sequence[Shown]) -> str:
    names = dict.fromkeys(name for run in runs for entry in run.data.log for name in entry.values)
    found = [(name, _over_time(runs, name, lambda entry: entry.values)) for name in names]
    html = curves(runs, [(name, points) for name, points in found if points], log=True)
    for name in names:
        lists: dict[int, tuple[int, tuple[float, ...]]] = {}
        for run in runs:
            for entry in run.data.log:
                value = entry.values.get(name)
                if isinstance(value, tuple):
                    lists[run.place] = (entry.iteration, value)
        if lists:
            html += f"<h3>{escape(name)}</h3>{list_charts(runs, lists)}"
    return html


def _over_time(runs: Sequence[Shown], name: str, of: Callable[[Entry], Any]) -> dict[int, list[tuple[float, float]]]:
    """Return the points of each run where the value is a single number."""
    found: dict[int, list[tuple[float, float]]] = {}
    for run in runs:
        pairs: list[tuple[float, Value | None]] = [(float(entry.iteration), of(entry).get(name)) for entry in run.data.log]
        points = [(x, value) for x, value in pairs if isinstance(value, float)]
        if points:
            found[run.place] = points
    return found
