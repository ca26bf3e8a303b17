"""Single images out of the grids that a training writes, put together anew: by class, one column of tiles each."""

from __future__ import annotations

import base64
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from PIL import Image

_PADDING = 2
"""Pixels around and between the images of a grid, as a training writes it."""

_LARGEST = 64
"""Pixels of a tile's side, to which larger images are reduced."""

_MOST_BYTES = 64_000
"""A file beside a grid that is larger was not written by a training."""

_MOST_IMAGES = 4096
"""A grid of more was not written by a training either, and would take long to cut apart."""

Tiles = Sequence[Sequence[Image.Image | None]]
"""Rows of images of one size; None leaves a place empty."""


@attrs.frozen
class Grid:
    """A grid of images, cut apart.

    Attributes:
        images: The images, in reading order, all of one size.
        labels: The class of each, or empty where that is not known.
        labels_by: Who says so, in words.
    """

    images: Sequence[Image.Image]
    labels: Sequence[int] = ()
    labels_by: str = ""

    def of_class(self, label: int) -> list[Image.Image]:
        """Return the images of a class."""
        return [image for image, own in zip(self.images, self.labels, strict=True) if own == label]


def open_picture(path: Path) -> Image.Image | None:
    """Return a PNG file as a picture, or None where it is missing or damaged, or waits for a writer."""
    opened = content_and_picture(path)
    return None if opened is None else opened[1]


def content_and_picture(path: Path) -> tuple[bytes, Image.Image] | None:
    """Return the bytes of a PNG file and its picture in RGB; None where it is missing or damaged, or waits for a writer."""
    try:
        if path.is_symlink() or not path.is_file():
            return None
        content = path.read_bytes()
        with warnings.catch_warnings():
            # Pillow warns of pictures that are too large to be decoded safely.
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                image.load()
                return content, image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Warning, Image.DecompressionBombError):
        return None


def read_grid(path: Path) -> Grid | None:
    """Return a grid that a training wrote, cut apart by what stands beside it; None where that is not known.

    Args:
        path: The PNG file. Beside it lies a JSON file of its name.
    """
    facts = _facts(path.with_suffix(".json"))
    columns, picture = facts.get("columns"), open_picture(path)
    if picture is None or not isinstance(columns, int) or not 0 < columns <= 100:
        return None
    wide, rest = divmod(picture.width - _PADDING, columns)
    rows, under = divmod(picture.height - _PADDING, max(1, wide))
    side = wide - _PADDING
    if rest or under or side < 1 or rows * columns > _MOST_IMAGES:
        return None
    corners = [(_PADDING + c * wide, _PADDING + r * wide) for r in range(rows) for c in range(columns)]
    labels = facts.get("labels")
    known = isinstance(labels, list) and 0 < len(labels) <= len(corners) and all(type(label) is int for label in labels)
    small = (min(side, _LARGEST),) * 2
    # A row that is not full ends in the color between images.
    number = len(labels) if known and isinstance(labels, list) else len(corners)
    images = [picture.crop((x, y, x + side, y + side)).resize(small, Image.Resampling.BOX) for x, y in corners[:number]]
    by = facts.get("labels_by")
    return Grid(images, labels if known and isinstance(labels, list) else (), by if isinstance(by, str) else "")


def asked_for(path: Path) -> bool:
    """Return whether a grid may hold classes that were asked for; of one that nothing is known of it may."""
    facts = _facts(path.with_suffix(".json"))
    return not facts or "asked" in str(facts.get("labels_by", ""))


def by_class(grid: Grid, classes: int, rows: int, beside: int) -> Tiles:
    """Return the first images of each class, in columns.

    Args:
        grid: The images and their labels.
        classes: Number of classes K.
        rows: Rows of tiles.
        beside: Images of one class in a row.
    """
    own = [grid.of_class(label) for label in range(classes)]
    places = [(row * beside + n, images) for row in range(rows) for images in own for n in range(beside)]
    flat = [images[place] if place < len(images) else None for place, images in places]
    wide = classes * beside
    return [flat[start : start + wide] for start in range(0, len(flat), wide)]


def in_order(grid: Grid, columns: int, rows: int) -> Tiles:
    """Return the first images of a grid in reading order."""
    flat: list[Image.Image | None] = list(grid.images[: columns * rows])
    flat += [None] * (-len(flat) % columns)
    return [flat[start : start + columns] for start in range(0, len(flat), columns)]


def sheet(tiles: Tiles) -> str:
    """Return tiles as one picture, a data URI; empty places, and the narrow room between tiles, are transparent."""
    side = next((image.width for row in tiles for image in row if image is not None), 1)
    room = max(1, side // 24)
    step = side + room
    size = (step * max(map(len, tiles)) - room, step * len(tiles) - room)
    canvas = Image.new("RGBA", size, (0, 0, 0, 0))
    for y, row in enumerate(tiles):
        for x, image in enumerate(row):
            if image is not None:
                canvas.paste(image, (x * step, y * step))
    return as_uri(canvas)


def as_uri(picture: Image.Image) -> str:
    """Return a picture as the data URI of a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _facts(path: Path) -> dict[str, Any]:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return {}
        facts = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}
