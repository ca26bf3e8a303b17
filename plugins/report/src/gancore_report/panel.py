"""The panel of one run: its class histogram, and below each bar real images of the class and those that were generated."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from markupsafe import Markup, escape

from gancore_report.charts import PALETTE, letter
from gancore_report.formats import percent
from gancore_report.tiles import Grid, Tiles, by_class, in_order, sheet

MOST_CLASSES = 12
"""With more classes a column of each would be too narrow to show an image."""

_WIDTH, _GUTTER = 400, 34
_PLOT = _WIDTH - _GUTTER
_BARS, _NAMES = 104, 32
"""Heights of the histogram, and of the classes' names and shares below it."""

_LEAST_TILE, _MOST_TILE = 30.0, 46.0
_GAP = 6
_COLUMNS, _ROWS, _CLASS_ROWS = 8, 5, 6
_CHARACTER = 6.0


@attrs.frozen
class Histogram:
    """Shares of the classes among generated images, and among those of the training where they are known.

    Attributes:
        shares: Of each class, from 0 to 1.
        trained: The same of the training images, or empty.
        top: Where the vertical axis ends.
        names: The classes' names, or empty.
    """

    shares: Sequence[float]
    trained: Sequence[float]
    top: float
    names: Sequence[str]

    def name(self, label: int) -> str:
        """Return a class as its number, and its name where it has another."""
        known = self.names[label] if len(self.names) == len(self.shares) else str(label)
        return str(label) if known == str(label) else f"{label} {known}"


def panel(run: int, alone: bool, histogram: Histogram | None, real: Grid | None, generated: Grid | None, title: str) -> Markup:
    """Return the drawing; empty where there is nothing to draw.

    Args:
        run: The run's place, which gives its color and letter.
        alone: Whether it is the only run.
        histogram: Of its generated images.
        real: Images of its training.
        generated: Images of its generator.
        title: What the drawing is called where it can't be seen.
    """
    body: list[str] = []
    height = 0.0
    if histogram is not None:
        body += _histogram(histogram, run)
        height = _BARS + _NAMES
    known = [grid for grid in (real, generated) if grid is not None and grid.images]
    if histogram is not None and len(histogram.shares) <= MOST_CLASSES and any(grid.labels for grid in known):
        classes = len(histogram.shares)
        beside = max(1, int(_PLOT / classes // _LEAST_TILE) if _PLOT / classes > 2 * _LEAST_TILE else 1)
        for grid, rows in ((real, 1), (generated, _CLASS_ROWS)):
            if grid is not None and grid.labels:
                tiles = by_class(grid, classes, rows, beside)
                more, height = _sheet(tiles, _PLOT / classes, beside, height, _who(grid is real, run, alone))
                body += more
    else:
        for grid, rows in ((real, 1), (generated, _ROWS)):
            if grid is not None and grid.images:
                tiles = in_order(grid, _COLUMNS, rows)
                more, height = _sheet(tiles, _PLOT / _COLUMNS, 1, height, _who(grid is real, run, alone))
                body += more
    if not body:
        return Markup()
    return Markup(
        f'<svg class="panel" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{{title}}">{{body}}</svg>'
    ).format(title=title, body=Markup("".join(body)))


def _who(real: bool, run: int, alone: bool) -> str:
    if real:
        return '<text class="side" x="{x}" y="{y}" text-anchor="end">real</text>'
    text = "made" if alone else letter(run)
    return f'<text class="side end" x="{{x}}" y="{{y}}" text-anchor="end" fill="var(--run{run % PALETTE})">{text}</text>'


def _sheet(tiles: Tiles, column: float, beside: int, top: float, who: str) -> tuple[list[str], float]:
    """Return rows of tiles as pictures, one below each class, and where the next may begin."""
    side = min(column / beside, _MOST_TILE) - 1
    start = top + (_GAP if top else 0)
    drawn = [who.format(x=_GUTTER - 8, y=f"{start + side / 2 + 4:.1f}")]
    classes = len(tiles[0]) // beside
    for label in range(classes):
        own = [row[label * beside : (label + 1) * beside] for row in tiles]
        room = (column - beside * (side + 1)) / 2
        x = _GUTTER + label * column + room
        wide, high = beside * (side + 1) - 1, len(tiles) * (side + 1) - 1
        drawn.append(f'<rect class="place" x="{x:.1f}" y="{start:.1f}" width="{wide:.1f}" height="{high:.1f}"/>')
        if any(image is not None for row in own for image in row):
            size = f'width="{wide:.1f}" height="{high:.1f}" preserveAspectRatio="none"'
            drawn.append(f'<image x="{x:.1f}" y="{start:.1f}" {size} href="{sheet(own)}"/>')
    return drawn, start + len(tiles) * (side + 1)


def _histogram(histogram: Histogram, run: int) -> list[str]:
    """Return the bars, each with its value, what it is of the training data, and the class's name."""
    shares, trained = histogram.shares, histogram.trained
    band, room = _PLOT / len(shares), 4
    narrow = len(shares) > MOST_CLASSES
    named = len(histogram.names) == len(shares) and _CHARACTER * (max(map(len, histogram.names)) + 1) < band
    gap = 0.12 * band if band > 4 else 0.0

    def down(share: float) -> float:
        return _BARS - (_BARS - room) * min(1.0, share / histogram.top)

    drawn = []
    for label, share in enumerate(shares):
        left, y = _GUTTER + label * band, down(share)
        tip = f"{histogram.name(label)}: {percent(share)}"
        tip += f" (training data {percent(trained[label])})" if trained else ""
        drawn.append(
            f'<g><rect x="{left:.1f}" y="0" width="{band:.1f}" height="{_BARS}" fill="transparent"/>'
            f'<rect x="{left + gap:.1f}" y="{y:.1f}" width="{band - 2 * gap:.1f}" height="{_BARS - y:.1f}" '
            f'fill="var(--run{run % PALETTE})"/><title>{escape(tip)}</title></g>'
        )
        if trained:
            drawn.append(f'<path class="marker" d="M{left + gap / 2:.1f} {down(trained[label]):.1f}h{band - gap:.1f}"/>')
        if not narrow:
            drawn.append(_text(left + band / 2, _BARS + 27, f"{100 * share:.{0 if share >= 0.0995 or not share else 1}f}"))
            drawn.append(_text(left + band / 2, _BARS + 14, histogram.names[label] if named else str(label), kind="class"))
    level = down(1 / len(shares))
    drawn.append(
        f'<path class="level" d="M{_GUTTER} {level:.1f}H{_WIDTH}"/><path class="axis" d="M{_GUTTER} {_BARS}H{_WIDTH}"/>'
    )
    drawn.append(f'<text class="side" x="{_GUTTER - 8}" y="{_BARS + (14 if narrow else 27)}" text-anchor="end">%</text>')
    if narrow:
        drawn.append(_text(_GUTTER + _PLOT / 2, _BARS + 14, f"classes 0 to {len(shares) - 1}"))
    return drawn


def _text(x: float, y: float, text: str, kind: str = "name") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'
