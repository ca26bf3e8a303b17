"""The section on robust accuracy: what `gancore attack` measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from gancore_report.charts import Curve, line_chart
from gancore_report.numbers import full, percent, short
from gancore_report.parts import NOTHING, Shown, details, table
from gancore_report.reading import Attacked


def robustness_section(runs: Sequence[Shown]) -> str:
    """Return a table and a chart per way of attacking; empty where there is none."""
    groups: dict[str, dict[int, Attacked]] = {}
    protocols: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for found in run.data.attacks:
            # The newest measurement of a kind counts.
            name = str(found.protocol.get("id", "")) or f"of run {run.place}"
            groups.setdefault(name, {})[run.place] = found
            protocols[name] = found.protocol
    return "".join(_group(runs, name, groups[name], protocols[name]) for name in groups)


def _group(runs: Sequence[Shown], name: str, found: Mapping[int, Attacked], protocol: Mapping[str, Any]) -> str:
    attack = str(protocol.get("attack", "an attack"))
    settings = protocol.get("settings")
    given = ", ".join(f"{key} {value}" for key, value in settings.items()) if isinstance(settings, dict) else ""
    title = f"Accuracy under {attack}" + (f" ({given})" if given else "") + f", {protocol.get('split', '')} images"
    budgets = sorted({epsilon for one in found.values() for epsilon, _ in one.accuracy})
    rows = [("no attack", [percent(found[run.place].natural) if run.place in found else NOTHING for run in runs])]
    for budget in budgets:
        values = [dict(found[run.place].accuracy).get(budget) if run.place in found else None for run in runs]
        rows.append((f"epsilon {short(budget)}", [NOTHING if value is None else percent(value) for value in values]))
    values = [found[run.place].lipschitz if run.place in found else None for run in runs]
    rows.append(("local Lipschitz value", [NOTHING if value is None else full(value) for value in values]))
    curves = []
    for run in runs:
        if run.place in found:
            one = found[run.place]
            points = one.accuracy if one.accuracy[0][0] == 0 else [(0.0, one.natural), *one.accuracy]
            curves.append(Curve(run.place, run.label, points))
    chart = ""
    if budgets[-1] > 0:
        drawn = line_chart("accuracy", curves, budgets[-1], legend=len(runs) > 1, over="epsilon")
        chart = f'<div class="charts">{drawn}</div>'
    made = f"<pre>{escape(json.dumps(dict(protocol), indent=2))}</pre>"
    return f"<h3>{escape(title)}</h3>" + table(runs, rows, "scores") + details(f"How protocol {name} measured", made) + chart
