"""Charts as inline SVG: lines over iterations, and bars.

A chart is a ``<figure>`` whose drawing scales with the page. Colors are CSS variables (``--run0`` ... ``--run6``), so that
they follow the page's light or dark scheme. Runs are told apart by a letter too, not by color alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence

import attrs
from markupsafe import Markup, escape

from gancore_report.axes import LARGEST, Axis, labels, line_axis, ticks
from gancore_report.curves import Curve, averaged, thinned, window_of
from gancore_report.formats import full, percent, short

PALETTE = 7
"""Number of run colors; with more runs they come again, dashed."""

_WIDTH, _HEIGHT = 380, 228
_TOP, _RIGHT, _BOTTOM = 10, 14, 38
_CHARACTER = 6.2
"""Widest usual width of a character of the axis labels, in the drawing's units."""

_LETTER = 12
"""Height of a run's letter at the end of its curve."""

_NONE = Markup()

_MOST_NAMES = 4
"""With more runs, a chart's legend gives their letters alone."""


def letter(run: int) -> str:
    """Return the letter of a run: A to Z, then numbers."""
    return chr(ord("A") + run) if run < 26 else str(run + 1)


def badge(run: int) -> Markup:
    """Return a run's letter on its color."""
    return Markup(f'<span class="badge" style="background:var(--run{run % PALETTE})">{letter(run)}</span>')


def line_chart(
    title: str,
    curves: Sequence[Curve],
    last: float,
    *,
    smooth: bool = False,
    log: bool = False,
    legend: bool = True,
    named: bool = True,
    over: str = "iteration",
) -> Markup:
    """Return a chart of curves, over iterations or another quantity.

    Values that are not finite are left out, and their number is written beside the title.

    Args:
        title: What is shown.
        curves: One per run; at least one with a finite value.
        last: Where the horizontal axis ends.
        smooth: Show a moving average over one fortieth of the run, and the values themselves faintly.
        log: Use a logarithmic axis where all values are above 0 and the largest is 50 times the smallest or more.
        legend: Tell the runs apart, by a letter at the end of each curve.
        named: Name them above the chart too, for a page that has no legend of its own.
        over: What the horizontal axis counts.
    """
    counts = over == "iteration"
    last = max(last, 1) if counts else last
    finite = [attrs.evolve(c, points=[p for p in c.points if abs(p[1]) < LARGEST]) for c in curves]
    notes = _lost(curves, finite)
    shown, faint = finite, []
    if smooth:
        window = window_of(len(curve.points) for curve in finite)
        if window > 1:
            faint = finite
            shown = [attrs.evolve(curve, points=averaged(curve.points, window)) for curve in finite]
    axis = line_axis([y for curve in shown for _, y in curve.points], [y for curve in faint for _, y in curve.points], log=log)
    if axis.log:
        notes.append("logarithmic axis")
    left, body = _vertical(axis)
    across = _across(left, last)

    def path(curve: Curve, kind: str) -> str:
        places = [(across(x), _down(axis.place(y))) for x, y in thinned(curve.points)]
        if not places:
            return ""
        if len(places) == 1:
            return _dot(*places[0], curve.run, "")
        line = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="5 3"' if curve.run >= PALETTE else ""
        return f'<path class="{kind}" data-run="{curve.run}" d="{line}" stroke="var(--run{curve.run % PALETTE})"{dash}/>'

    marks = []
    for curve in shown if not smooth else []:
        if len(curve.points) <= 30:
            where = [f"{x:,.0f}" if counts else short(x) for x, _ in curve.points]
            tip = [f"{letter(curve.run)}, {over} {x}: {full(y)}" for x, (_, y) in zip(where, curve.points, strict=True)]
            marks += [
                _dot(across(x), _down(axis.place(y)), curve.run, text) for (x, y), text in zip(curve.points, tip, strict=True)
            ]
    clip = f"clip{round(10 * left)}"
    body += [
        *_horizontal(left, last, over, whole=counts),
        # Equal ids on one page are harmless here: what they name is equal too.
        f'<clipPath id="{clip}"><rect x="{left - 4:.1f}" y="{_TOP - 4}" width="{_WIDTH - _RIGHT - left + 8:.1f}" '
        f'height="{_HEIGHT - _BOTTOM - _TOP + 8}"/></clipPath>',
        f'<g clip-path="url(#{clip})">',
        *(path(curve, "faint") for curve in faint),
        *(path(curve, "line") for curve in shown),
        *marks,
        "</g>",
        *(_ends(shown, axis, across) if legend and len(curves) <= 8 else ()),
    ]
    read = _read_out(shown, left, last, over)
    return _figure(title, "; ".join(notes), _legend(curves) if legend and named else Markup(), "".join(body), read)


def bar_chart(
    title: str,
    values: Sequence[float],
    axis: Axis,
    *,
    run: int,
    names: Sequence[str] = (),
    shares: bool = False,
    level: float | None = None,
    markers: Sequence[float] = (),
    note: str = "",
    below: str = "class",
) -> Markup:
    """Return a chart of bars from zero.

    Args:
        title: What is shown.
        values: Heights; a bar that is not finite is left out.
        axis: The vertical axis, shared by the charts that are to be compared.
        run: Place of the run in the report, which gives its color.
        names: Name of each bar, or nothing; they are then numbered.
        shares: Values are shares of one, shown in percent.
        level: Where a dashed line is drawn across.
        markers: For each bar, where a thin mark is drawn.
        note: Stands beside the title.
        below: What a bar stands for.
    """
    names = names if len(names) == len(values) else ()
    show = percent if shares else full
    left, body = _vertical(axis, shares=shares)
    band = (_WIDTH - _RIGHT - left) / len(values)
    gap = 0.15 * band if band > 4 else 0.0
    ground = _down(min(1.0, max(0.0, axis.place(0.0))))
    for place, value in enumerate(values):
        name = f"{place} {names[place]}" if names and names[place] != str(place) else str(place)
        tip = f"{name}: {show(value)}"
        if place < len(markers):
            tip += f" (training data {show(markers[place])})"
        end = _down(min(1.0, max(0.0, axis.place(value)))) if abs(value) < LARGEST else ground
        # As high as the plot, so that a bar too small to be pointed at still tells its value.
        body.append(
            f'<g><rect x="{left + place * band:.2f}" y="{_TOP}" width="{band:.2f}" height="{_HEIGHT - _BOTTOM - _TOP}" '
            f'fill="transparent"/><rect x="{left + place * band + gap:.2f}" y="{min(ground, end):.1f}" '
            f'width="{band - 2 * gap:.2f}" height="{abs(ground - end):.1f}" fill="var(--run{run % PALETTE})"/>'
            f"<title>{escape(tip)}</title></g>"
        )
    if level is not None:
        y = _down(axis.place(level))
        body.append(f'<path class="level" d="M{left:.1f} {y:.1f}H{_WIDTH - _RIGHT}"/>')
    for place, value in enumerate(markers[: len(values)]):
        if abs(value) < LARGEST:
            start, y = left + place * band, _down(min(1.0, axis.place(value)))
            body.append(f'<path class="marker" d="M{start + gap / 2:.1f} {y:.1f}h{band - gap:.1f}"/>')
    body += _bar_labels(left, band, len(values), names, below)
    return _figure(title, note, Markup(), "".join(body))


def names_fit(names: Sequence[str]) -> bool:
    """Whether the names can stand below the bars of a chart; numbers do otherwise."""
    return _CHARACTER * max(map(len, names), default=0) < (_WIDTH - _RIGHT - 50) / max(1, len(names))


def _read_out(curves: Sequence[Curve], left: float, last: float, over: str) -> Markup:
    """Return what the page's script needs to say a curve's value where it is pointed at, as attributes."""
    points = [[c.run, letter(c.run), [[x, float(f"{y:.5g}")] for x, y in thinned(c.points)]] for c in curves if c.points]
    place = json.dumps({"left": round(left, 1), "right": _WIDTH - _RIGHT, "width": _WIDTH, "last": last, "over": over})
    return Markup(' data-axis="{}" data-curves="{}"').format(place, json.dumps(points, separators=(",", ":")))


def _lost(curves: Sequence[Curve], finite: Sequence[Curve]) -> list[str]:
    pairs = zip(curves, finite, strict=True)
    lost = {letter(before.run): len(before.points) - len(after.points) for before, after in pairs}
    named = [f"{name}: {number}" if len(curves) > 1 else str(number) for name, number in lost.items() if number]
    return [f"not finite or too large to draw: {', '.join(named)}"] if named else []


def _across(left: float, last: float) -> Callable[[float], float]:
    return lambda x: left + x / last * (_WIDTH - _RIGHT - left)


def _down(share: float) -> float:
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)


def _dot(x: float, y: float, run: int, tip: str) -> str:
    title = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<circle data-run="{run}" cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var(--run{run % PALETTE})">{title}</circle>'


def _vertical(axis: Axis, *, shares: bool = False) -> tuple[float, list[str]]:
    """Return the plot's left edge, and the horizontal grid with its labels."""
    if shares:
        texts = [f"{label} %" for label in labels([100 * tick for tick in axis.ticks])]
    else:
        texts = list(map(short, axis.ticks)) if axis.log else labels(axis.ticks)
    left = max(30.0, 10 + _CHARACTER * max(map(len, texts), default=0))
    drawn = []
    for tick, label in zip(axis.ticks, texts, strict=True):
        y = _down(axis.place(tick))
        kind = "axis" if label in ("0", "0 %") else "grid"
        drawn.append(f'<path class="{kind}" d="M{left:.1f} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        drawn.append(f'<text x="{left - 6:.1f}" y="{y + 3.8:.1f}" text-anchor="end">{escape(label)}</text>')
    return left, drawn


def _horizontal(left: float, last: float, over: str, *, whole: bool) -> Iterator[str]:
    """Yield the ticks of the horizontal axis, and what they count."""
    bottom, across = _HEIGHT - _BOTTOM, _across(left, last)
    yield f'<path class="axis" d="M{left:.1f} {bottom}H{_WIDTH - _RIGHT}"/>'
    spaced = ticks(0, last, 7, whole=whole)
    for tick, text in zip(spaced, labels(spaced), strict=True):
        x = across(tick)
        yield f'<path class="axis" d="M{x:.1f} {bottom}v4"/>'
        # The last label must not reach beyond the drawing.
        label = short(tick) if whole else text
        half = _CHARACTER * len(label) / 2
        yield f'<text x="{min(x, _WIDTH - half):.1f}" y="{bottom + 16}" text-anchor="middle">{escape(label)}</text>'
    yield f'<text x="{(left + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 5}" text-anchor="middle">{escape(over)}</text>'


def _ends(curves: Sequence[Curve], axis: Axis, across: Callable[[float], float]) -> Iterator[str]:
    """Yield the runs' letters at the ends of their curves; those that would overlap are moved apart."""
    columns: dict[int, list[tuple[float, float, int]]] = {}
    for curve in curves:
        if curve.points:
            x, value = curve.points[-1]
            place = min(across(x) + 5, _WIDTH - 9)
            height = min(_down(min(1.0, axis.place(value))), _HEIGHT - _BOTTOM - _LETTER / 2)
            columns.setdefault(round(place / _LETTER), []).append((height, place, curve.run))
    for ends in columns.values():
        lowest = _HEIGHT + 0.0
        # From below upwards, but so that those still to come find room below the top.
        for rank, (height, place, run) in enumerate(sorted(ends, reverse=True)):
            lowest = max(min(height, lowest - _LETTER), _TOP + (len(ends) - 1 - rank) * _LETTER)
            color = f"var(--run{run % PALETTE})"
            at = f'x="{place:.1f}" y="{lowest + 4:.1f}"'
            yield f'<text class="end" data-run="{run}" {at} fill="{color}">{letter(run)}</text>'


def _bar_labels(left: float, band: float, number: int, names: Sequence[str], below: str) -> Iterator[str]:
    """Yield names below the bars where they fit, or else numbers, as many as fit."""
    fits = len(names) > 0 and names_fit(names)
    steps = (digit * 10**power for power in itertools.count() for digit in (1, 2, 5))
    every = 1 if fits else next(n for n in steps if n * band > _CHARACTER * (len(str(number)) + 1))
    bottom = _HEIGHT - _BOTTOM
    for place in range(0, number, every):
        label = names[place] if fits else str(place)
        x = left + (place + 0.5) * band
        yield f'<text class="name" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(label)}</text>'
    yield f'<text x="{(left + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 5}" text-anchor="middle">{escape(below)}</text>'


def _legend(curves: Sequence[Curve]) -> Markup:
    # Many names would bury the chart; the tables name them all.
    brief = len(curves) > _MOST_NAMES
    entries = [Markup("<span>{} {}</span>").format(badge(curve.run), "" if brief else curve.name) for curve in curves]
    return Markup('<div class="legend">{}</div>').format(Markup("").join(entries))


def _figure(title: str, note: str, legend: Markup, body: str, attributes: Markup = _NONE) -> Markup:
    aside = Markup(' <span class="note">{}</span>').format(note) if note else ""
    return Markup(
        "<figure{attributes}><figcaption><b>{title}</b>{aside}{legend}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{{title}}">{{body}}</svg></figure>'
    ).format(title=title, aside=aside, legend=legend, body=Markup(body), attributes=attributes)
