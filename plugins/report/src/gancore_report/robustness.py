"""The section on robust accuracy: what `gancore attack` measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from gancore_report.charts import line_chart
from gancore_report.curves import Curve
from gancore_report.formats import full, percent, short
from gancore_report.reading import Attacked
from gancore_report.rendering import render
from gancore_report.shown import Shown


def robustness_section(runs: Sequence[Shown]) -> Markup:
    """Return a table and a chart per way of attacking; empty where there is none."""
    groups: dict[str, dict[int, Attacked]] = {}
    for run in runs:
        for measured in run.data.attacks:
            # The newest measurement of a kind counts.
            name = str(measured.protocol.get("id", "")) or f"of run {run.place}"
            groups.setdefault(name, {})[run.place] = measured
    return Markup().join(_group(runs, name, measured) for name, measured in groups.items())


def _group(runs: Sequence[Shown], name: str, measured: Mapping[int, Attacked]) -> Markup:
    protocol = list(measured.values())[-1].protocol
    columns = [measured.get(run.place) for run in runs]
    budgets = sorted({epsilon for one in measured.values() for epsilon, _ in one.accuracy})
    rows = [("no attack", ["" if one is None else percent(one.natural) for one in columns])]
    for budget in budgets:
        values = [None if one is None else dict(one.accuracy).get(budget) for one in columns]
        rows.append((f"epsilon {short(budget)}", ["" if value is None else percent(value) for value in values]))
    constants = [None if one is None else one.lipschitz for one in columns]
    rows.append(("local Lipschitz value", ["" if value is None else full(value) for value in constants]))
    curves = []
    for run, one in zip(runs, columns, strict=True):
        if one is not None:
            points = one.accuracy if one.accuracy[0][0] == 0 else [(0.0, one.natural), *one.accuracy]
            curves.append(Curve(run.place, run.label, points))
    drawable = budgets[-1] > 0
    chart = (
        line_chart("accuracy", curves, budgets[-1], legend=len(runs) > 1, named=False, over="epsilon") if drawable else Markup()
    )
    text = json.dumps(dict(protocol), indent=2, ensure_ascii=False)
    about = {"title": _title(protocol), "name": name, "protocol": text, "shared": _shared(runs, measured)}
    return render("robustness", runs=runs, rows=rows, chart=chart, **about)


def _shared(runs: Sequence[Shown], measured: Mapping[int, Attacked]) -> str:
    """Return which runs' values are those of one network, which says nothing of how the runs differ; empty where none are."""
    by_weights: dict[str, list[str]] = {}
    for run in runs:
        weights = measured[run.place].protocol.get("weights") if run.place in measured else None
        if weights is not None:
            by_weights.setdefault(str(weights), []).append(run.label)
    same = [names for names in by_weights.values() if len(names) > 1]
    return "; ".join(f"of {', '.join(names)} one and the same network was attacked" for names in same)


def _title(protocol: Mapping[str, Any]) -> str:
    settings = protocol.get("settings")
    told = ", ".join(f"{key} {value}" for key, value in settings.items()) if isinstance(settings, dict) else ""
    aside = f" ({told})" if told else ""
    return f"Accuracy under {protocol.get('attack', 'an attack')}{aside}, {protocol.get('split', '')} images"
