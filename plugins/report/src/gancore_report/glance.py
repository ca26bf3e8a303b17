"""The first screen: what differs between the runs, how they score, which classes they make, and what that looks like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import attrs
from gancore_training import RunFolder
from markupsafe import Markup

from gancore_report.panel import MOST_CLASSES, Histogram, panel
from gancore_report.reading import RunData
from gancore_report.recipes import outline
from gancore_report.rendering import render
from gancore_report.scores import Column, evaluations
from gancore_report.scoring import grouped, score_table, scored, scores_of
from gancore_report.shown import Shown
from gancore_report.tiles import as_uri, open_picture, read_grid

_SETTINGS = 8
"""Settings that differ, shown on the first screen."""

_BESIDE = 2
"""With more panels than this, the tables stand above them instead of beside them."""

_WIDEST = 480
"""Pixels to which a picture that can't be cut apart is reduced."""

ClassShares = tuple[Column, tuple[float, ...]]
"""A class histogram in shares of one, and by which protocol it was made."""


@attrs.frozen
class Panel:
    """What the first screen shows of a run, or of the first of runs that differ in nothing but their seed.

    Attributes:
        runs: The runs.
        drawing: Histogram and images.
        whole: Pictures that can't be cut apart, what each is and its data URI.
        iteration: Of the images; None without any.
        labels_by: Who says which class an image is of.
    """

    runs: Sequence[Shown]
    drawing: Markup
    whole: Sequence[tuple[str, str]]
    iteration: int | None
    labels_by: str


def glance_section(runs: Sequence[Shown]) -> Markup:
    """Return the first screen."""
    groups = grouped(runs)
    histograms = {run.place: histogram_of(run.data) for run in runs}
    means = [_averaged([histograms[run.place] for run in group]) for group in groups]
    trained = [_training_shares(group[0].data, len(mean)) if mean else () for group, mean in zip(groups, means, strict=True)]
    top = max((share for several in (*means, *trained) for share in several), default=1.0)
    panels = [
        _panel(group, Histogram(mean, own, top, group[0].data.class_names) if mean else None)
        for group, mean, own in zip(groups, means, trained, strict=True)
    ]
    shown = [one for one in panels if one.drawing or one.whole]
    differences = outline([group[0].data for group in groups]) if len(groups) > 1 else []
    table = scores_of(runs) if scored(runs) else None
    return render(
        "glance",
        groups=groups,
        differences=differences[:_SETTINGS],
        further=len(differences) - _SETTINGS,
        several=len(groups) > 1,
        scores=score_table(runs, table) if table else "",
        remarks=table.notes if table else (),
        panels=shown,
        notes=_notes(shown, [one for one in histograms.values() if one]),
        beside=len(groups) <= _BESIDE,
    )


def histogram_of(run: RunData) -> ClassShares | None:
    """Return the newest class histogram of a run, in shares of one, and its column."""
    for values in reversed(evaluations(run).values()):
        for column, value in values.items():
            if column.name.endswith("histogram") and isinstance(value, tuple) and len(value) > 1:
                total = sum(value)
                if min(value) >= 0 and 0 < total < math.inf:
                    return column, tuple(share / total for share in value)
    return None


def drawn_by(runs: Sequence[Shown]) -> set[Column]:
    """Return the histograms that the first screen shows with a bar and a name for each class."""
    histograms = [histogram_of(run.data) for run in runs]
    return {one[0] for one in histograms if one is not None and len(one[1]) <= MOST_CLASSES}


def _training_shares(run: RunData, classes: int) -> tuple[float, ...]:
    """Return the classes' shares of the training images; empty where they are not known."""
    counts = run.class_counts
    if len(counts) != classes or min(counts) < 0 or not 0 < sum(counts) < math.inf:
        return ()
    return tuple(count / sum(counts) for count in counts)


def _averaged(histograms: Sequence[ClassShares | None]) -> tuple[float, ...]:
    """Return the mean shares of runs' histograms of one protocol; those of the first where they have several."""
    known = [one for one in histograms if one is not None]
    if not known:
        return ()
    alike = [shares for column, shares in known if column == known[0][0] and len(shares) == len(known[0][1])]
    return tuple(sum(of_class) / len(alike) for of_class in zip(*alike, strict=True))


def _panel(group: Sequence[Shown], histogram: Histogram | None) -> Panel:
    run = group[0]
    path = RunFolder(run.data.path).samples / "real.png"
    iteration, newest = run.data.samples[-1] if run.data.samples else (None, None)
    real, generated = read_grid(path), None if newest is None else read_grid(newest)
    drawing = panel(run.place, run.alone, histogram, real, generated, f"classes and samples of {run.title}")
    whole = [
        (what, uri)
        for what, one, cut in (("real", path, real), ("samples", newest, generated))
        if not cut
        for uri in _whole(one)
    ]
    return Panel(group, drawing, whole, iteration, generated.labels_by if generated is not None and generated.labels else "")


def _whole(path: Path | None) -> list[str]:
    """Return a picture that can't be cut apart, reduced, as data URI; nothing for what is no picture."""
    picture = None if path is None else open_picture(path)
    if picture is None:
        return []
    if picture.width > _WIDEST:
        picture = picture.resize((_WIDEST, max(1, round(picture.height * _WIDEST / picture.width))))
    return [as_uri(picture)]


def _notes(panels: Sequence[Panel], histograms: Sequence[ClassShares]) -> list[str]:
    """Return what the panels show, a sentence each."""
    notes = []
    if histograms:
        trained = " Thin marks: the training data." if any("marker" in panel.drawing for panel in panels) else ""
        notes.append(f"Bars: share of each class among the generated images, in percent. Dashed: all classes alike.{trained}")
        ids = list(dict.fromkeys(column.id for column, _ in histograms))
        if len({column.key for column, _ in histograms}) > 1:
            notes.append(f"The histograms were made by different protocols ({', '.join(ids)}), so they can't be compared.")
    by = list(dict.fromkeys(panel.labels_by for panel in panels if panel.labels_by))
    if by and any(len(shares) <= MOST_CLASSES for _, shares in histograms):
        notes.append(f"Samples stand below {' or '.join(by)}. An empty place: no further one of the class among the samples.")
    return notes
