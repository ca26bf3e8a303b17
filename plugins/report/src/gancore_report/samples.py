"""The section on generated images: the newest grid of each run, and some of its past."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import attrs
from markupsafe import Markup
from PIL import Image

from gancore_report.rendering import render
from gancore_report.shown import Shown

_PAST = 6
"""Sample grids shown of a run's past."""

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
    """Return the pictures; empty where no run has a readable or a damaged one."""
    grids: list[tuple[Shown, list[Picture]]] = []
    damaged = []
    for run in runs:
        pictures = []
        for iteration, path in _spread(run.data.samples):
            if (picture := _picture(path, iteration)) is None:
                damaged.append(f"{run.title}: {path.name} is damaged and was passed over.")
            else:
                pictures.append(picture)
        if pictures:
            grids.append((run, pictures))
    if not grids and not damaged:
        return Markup()
    names = [run.data.class_names for run, _ in grids if len(run.data.class_names) > 1]
    texts = [f"{', '.join(n[:_NAMES])}{' and so on' if len(n) > _NAMES else ', and from the first again'}" for n in names]
    return render("samples", grids=grids, damaged=damaged, classes=list(dict.fromkeys(texts)))


def _spread(samples: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """Return the last and, evenly spaced, others before it, first included."""
    if len(samples) <= _PAST:
        return list(samples)
    return [samples[round(place * (len(samples) - 1) / (_PAST - 1))] for place in range(_PAST)]


def _picture(path: Path, iteration: int) -> Picture | None:
    """Return a PNG file as a picture, or None where it is damaged."""
    try:
        if not path.is_file():  # what waits for a writer, or has no end
            return None
        data = path.read_bytes()
        with warnings.catch_warnings():
            # Pillow warns of pictures that are too large to be decoded safely.
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                image.load()
                width, height = image.size
                if len(data) > _HEAVY and width > _WIDEST:
                    width, height = _WIDEST, max(1, round(height * _WIDEST / width))
                    small = io.BytesIO()
                    image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS).save(small, "PNG", optimize=True)
                    data = small.getvalue()
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError):
        return None
    return Picture(iteration, f"data:image/png;base64,{base64.b64encode(data).decode()}", width, height)
