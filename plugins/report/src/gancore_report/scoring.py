"""The sections on scores: final values, how they were made, curves, and the classes of generated images."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import attrs

from gancore_report.charts import bar_axis, bar_chart, names_fit
from gancore_report.numbers import aligned, full, short
from gancore_report.parts import NOTHING, Shown, curves, details, table
from gancore_report.reading import Value

_ARROWS = {"lower": ("↓", "lower is better"), "higher": ("↑", "higher is better")}


@attrs.frozen
class Score:
    """Values that may be compared: of one score, made by one protocol.

    Attributes:
        name: ``metric/name``.
        protocol: How they were made; empty where that is not recorded.
        better: ``lower``, ``higher``, or empty.
        values: Run's place -> iteration -> value. Of a run that was scored again the newest value counts.
    """

    name: str
    protocol: Mapping[str, Any]
    better: str
    values: dict[int, dict[int, Value]] = attrs.field(factory=dict)

    @property
    def id(self) -> str:
        """The protocol's id."""
        return str(self.protocol.get("id", "")) or "not recorded"

    def numbers(self) -> dict[int, list[tuple[float, float]]]:
        """Return iterations and values of each run, of those that are single numbers."""
        kept = {
            run: [(float(n), value) for n, value in sorted(of_run.items()) if isinstance(value, float)]
            for run, of_run in self.values.items()
        }
        return {run: points for run, points in kept.items() if points}

    def lists(self) -> dict[int, tuple[int, tuple[float, ...]]]:
        """Return iteration and value of each run's newest list."""
        kept = {
            run: [(n, value) for n, value in sorted(of_run.items()) if isinstance(value, tuple)]
            for run, of_run in self.values.items()
        }
        return {run: points[-1] for run, points in kept.items() if points}


def collect(runs: Sequence[Shown]) -> list[Score]:
    """Return all scores of the runs; values whose protocols differ in anything are kept apart."""
    found: dict[tuple[str, str], Score] = {}
    for run in runs:
        for entry in run.data.scores:
            for name, value in entry.values.items():
                protocol = entry.protocols.get(name.split("/")[0], {})
                # Nothing can be compared with a value of which it is not known how it was made.
                made = json.dumps(protocol, sort_keys=True) if protocol else f"run {run.place}"
                score = found.setdefault((name, made), Score(name, protocol, entry.better.get(name, "")))
                score.values.setdefault(run.place, {})[entry.iteration] = value
    order = {name: place for place, name in enumerate(dict.fromkeys(name for name, _ in found))}
    return sorted(found.values(), key=lambda score: order[score.name])


def scores_section(runs: Sequence[Shown]) -> str:
    """Return the table of final values, the protocols, and the curves; empty where there is none."""
    scores = [score for score in collect(runs) if score.numbers()]
    if not scores:
        return ""
    several = {score.name for score in scores if sum(score.name == other.name for other in scores) > 1}
    rows = [(_head(score, scores), _cells(runs, score)) for score in scores]
    intro = "" if len(runs) == 1 else "Final values. The best of a row is marked."
    if several:
        intro += (
            f" {', '.join(sorted(several))}: made by different protocols, so the values stand in rows of their own"
            " and can't be compared from row to row."
        )
    charts = [
        (score.name if score.name not in several else f"{score.name} (protocol {score.id})", score.numbers())
        for score in scores
    ]
    return (
        (f"<p>{escape(intro.strip())}</p>" if intro else "")
        + table(runs, rows, "scores")
        + details("How the scores were made", _protocols(collect(runs)))
        + "<h3>Scores over the training</h3>"
        + curves(runs, charts, log=True)
    )


def classes_section(runs: Sequence[Shown]) -> str:
    """Return bar charts of the generated images' classes and of other scores by class; empty where there is none."""
    scores = [score for score in collect(runs) if score.lists()]
    names = [score.name for score in scores]
    html = ""
    for score in scores:
        label = score.name if names.count(score.name) == 1 else f"{score.name} (protocol {score.id})"
        html += f"<h3>{escape(label)}</h3>" + (_histograms(runs, score) if _is_histogram(score) else _by_class(runs, score))
    return html


def _is_histogram(score: Score) -> bool:
    """Whether the lists are how often each class was generated."""
    lists = [values for _, values in score.lists().values()]
    return score.name.endswith("histogram") and all(
        all(value >= 0 for value in values) and 0 < sum(values) < math.inf for values in lists
    )


def _histograms(runs: Sequence[Shown], score: Score) -> str:
    lists = {place: (n, _shares(values)) for place, (n, values) in score.lists().items()}
    trained = {place: _training_shares(runs[place], len(shares)) for place, (_, shares) in lists.items()}
    axis = bar_axis([value for _, shares in lists.values() for value in shares] + [v for t in trained.values() for v in t])
    charts = [
        bar_chart(
            runs[place].title,
            shares,
            axis,
            run=place,
            names=runs[place].data.class_names,
            shares=True,
            level=1 / len(shares),
            markers=trained[place],
            note=f"iteration {n:,}",
        )
        for place, (n, shares) in lists.items()
    ]
    marks = " Short lines: the classes' shares of the training data." if any(trained.values()) else ""
    text = f"Bars: share of the generated images that the classifier puts in each class. Dashed: all classes alike.{marks}"
    return f'<p class="soft">{text}</p><div class="charts">{"".join(charts)}</div>{class_key(runs)}'


def _by_class(runs: Sequence[Shown], score: Score) -> str:
    return list_charts(runs, score.lists()) + class_key(runs)


def list_charts(runs: Sequence[Shown], lists: Mapping[int, tuple[int, tuple[float, ...]]]) -> str:
    """Return a bar chart per run of lists of numbers, with the same axis."""
    axis = bar_axis([value for _, values in lists.values() for value in values])
    classes = {len(known) for run in runs for known in (run.data.class_names, run.data.class_counts)}
    charts = [
        bar_chart(
            runs[place].title,
            values,
            axis,
            run=place,
            names=runs[place].data.class_names,
            note=f"iteration {n:,}",
            below="class" if len(values) in classes else "entry",
        )
        for place, (n, values) in lists.items()
    ]
    return f'<div class="charts">{"".join(charts)}</div>'


def class_key(runs: Sequence[Shown]) -> str:
    """Return which number is which class, where the bars bear numbers and the names are few enough."""
    keys = dict.fromkeys(run.data.class_names for run in runs)
    texts = [
        ", ".join(f"{place} {name}" for place, name in enumerate(names))
        for names in keys
        if 0 < len(names) <= 40 and not names_fit(names)
    ]
    return "".join(f'<p class="note">Classes: {escape(text)}</p>' for text in texts)


def _shares(values: Sequence[float]) -> tuple[float, ...]:
    total = sum(values)
    return tuple(value / total for value in values)


def _training_shares(run: Shown, classes: int) -> tuple[float, ...]:
    counts = run.data.class_counts
    usable = len(counts) == classes and all(count >= 0 for count in counts) and 0 < sum(counts) < math.inf
    return _shares(counts) if usable else ()


def _head(score: Score, scores: Sequence[Score]) -> str:
    arrow, meaning = _ARROWS.get(score.better, ("", ""))
    protocols = [other.protocol for other in scores if other.name == score.name]
    keys = [key for key in differing(protocols) if key != "id"]
    shown = [f"{key} {setting(score.protocol, key)}" for key in keys[:3]]
    aside = ", ".join([f"protocol {score.id}", *shown])
    return f'<span title="{meaning}">{escape(score.name)} {arrow}</span><br><span class="note">{escape(aside)}</span>'


def _cells(runs: Sequence[Shown], score: Score) -> list[str]:
    points = score.numbers()
    finals = {place: of_run[-1][1] for place, of_run in points.items()}
    texts = dict(zip(finals, aligned(list(finals.values())), strict=True))
    direction = {"lower": 1, "higher": -1}.get(score.better)
    finite = [direction * value for value in finals.values() if math.isfinite(value)] if direction else []
    cells = []
    for run in runs:
        if run.place not in finals:
            cells.append(NOTHING)
            continue
        of_run = points[run.place]
        best = direction is not None and len(finals) > 1 and bool(finite) and direction * finals[run.place] == min(finite)
        notes = []
        if of_run[-1][0] < run.data.iterations:
            notes.append(f"at iteration {of_run[-1][0]:,.0f}")
        reached = [point for point in of_run if math.isfinite(point[1])]
        if direction is not None and reached:
            record = min(reached, key=lambda point: direction * point[1])
            if record[1] != of_run[-1][1]:
                notes.append(f"best {full(record[1])} at {short(record[0])}")
        aside = f'<br><span class="note">{escape("; ".join(notes))}</span>' if notes else ""
        mark = ' class="best"' if best else ""
        cells.append(f"<td{mark}>{escape(texts[run.place])}{aside}</td>")
    return cells


def _protocols(scores: Sequence[Score]) -> str:
    """Return a table per metric: a row per setting, a column per protocol; settings that differ are marked."""
    metrics: dict[str, dict[str, Mapping[str, Any]]] = {}
    for score in scores:
        if score.protocol:
            made = json.dumps(score.protocol, sort_keys=True)
            metrics.setdefault(score.name.split("/")[0], {})[made] = score.protocol
    if not metrics:
        return '<p class="warn">It is not recorded.</p>'
    return "".join(_protocol_table(metric, list(found.values())) for metric, found in metrics.items())


def _protocol_table(metric: str, protocols: Sequence[Mapping[str, Any]]) -> str:
    unlike = differing(protocols)
    rows = ""
    for key in dict.fromkeys(key for protocol in protocols for key in protocol if key != "id"):
        mark = ' class="differs"' if key in unlike else ""
        cells = "".join(f"<td{mark}>{escape(setting(protocol, key))}</td>" for protocol in protocols)
        rows += f"<tr><th>{escape(key)}</th>{cells}</tr>"
    heads = "".join(f"<th>protocol {escape(str(protocol.get('id', 'without id')))}</th>" for protocol in protocols)
    head = f"<thead><tr><th></th>{heads}</tr></thead>"
    return f'<h3>{escape(metric)}</h3><div class="wide"><table>{head}<tbody>{rows}</tbody></table></div>'


def differing(protocols: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the settings that are not the same in all protocols."""
    keys = dict.fromkeys(key for protocol in protocols for key in protocol)
    return [key for key in keys if len({setting(protocol, key) for protocol in protocols}) > 1]


def setting(protocol: Mapping[str, Any], key: str) -> str:
    """Return a setting of a protocol as text."""
    if key not in protocol:
        return NOTHING
    value = protocol[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
