"""The section on generated images: the grids of all runs over their trainings."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
from markupsafe import Markup
from PIL import Image

from gancore_report.rendering import render
from gancore_report.shown import Shown
from gancore_report.tiles import asked_for, content_and_picture

_MOMENTS = 6
"""Iterations whose samples are shown."""

_NAMES = 20
"""Class names listed below the samples."""

_HEAVY = 400_000
"""Pictures with more bytes than this are made smaller."""

_WIDEST = 1200
"""Width in pixels to which heavy pictures are reduced."""


@attrs.frozen
class Picture:
    """A picture as a data URI, its size in pixels, and the iteration that it is of."""

    iteration: int
    uri: str
    width: int
    height: int


def samples_section(runs: Sequence[Shown]) -> Markup:
    """Return the pictures, those of one iteration beside each other; empty where no run has a readable or a damaged one."""
    read: dict[tuple[int, int], Picture] = {}
    damaged = []
    steps = _steps([run.data.samples for run in runs])
    for run in runs:
        for iteration, path in dict.fromkeys(_until(run.data.samples, step) for step in steps):
            if path is not None and (picture := _picture(path, iteration)) is not None:
                read[run.place, iteration] = picture
            elif path is not None:
                damaged.append(f"{run.title}: {path.name} is damaged and was passed over.")
    if not read and not damaged:
        return Markup()
    shown = [(step, _row(runs, read, step)) for step in steps]
    asked = [run.data for run in runs if run.data.samples and asked_for(run.data.samples[-1][1])]
    names = [data.class_names for data in asked if len(data.class_names) > 1]
    texts = [f"{', '.join(n[:_NAMES])}{' and so on' if len(n) > _NAMES else ', and from the first again'}" for n in names]
    moments = [(step, row) for step, row in shown if row]
    return render("samples", moments=moments, damaged=damaged, classes=list(dict.fromkeys(texts)))


def _steps(samples: Sequence[Sequence[tuple[int, Path]]]) -> list[int]:
    """Return iterations of which the pictures are shown: evenly spaced, first and last included."""
    known = sorted({iteration for of_run in samples for iteration, _ in of_run})
    if len(known) <= _MOMENTS:
        return known
    return [known[round(place * (len(known) - 1) / (_MOMENTS - 1))] for place in range(_MOMENTS)]


def _until(samples: Sequence[tuple[int, Path]], step: int) -> tuple[int, Path | None]:
    """Return the newest picture of a run at an iteration."""
    return next(((iteration, path) for iteration, path in reversed(samples) if iteration <= step), (0, None))


def _row(runs: Sequence[Shown], read: Mapping[tuple[int, int], Picture], step: int) -> list[tuple[Shown, Picture]]:
    """Return the runs' newest sound pictures at an iteration."""
    newest = {}
    for (place, iteration), picture in sorted(read.items()):
        if iteration <= step:
            newest[place] = picture
    return [(run, newest[run.place]) for run in runs if run.place in newest]


def _picture(path: Path, iteration: int) -> Picture | None:
    """Return a PNG file as a picture, or None where it is damaged."""
    opened = content_and_picture(path)
    if opened is None:
        return None
    content, image = opened
    width, height = image.size
    if len(content) > _HEAVY and width > _WIDEST:
        width, height = _WIDEST, max(1, round(height * _WIDEST / width))
        small = io.BytesIO()
        image.resize((width, height), Image.Resampling.LANCZOS).save(small, "PNG", optimize=True)
        content = small.getvalue()
    return Picture(iteration, f"data:image/png;base64,{base64.b64encode(content).decode()}", width, height)
