"""Digests by which images and tables are known again, wherever they lie."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from gancore import Rows
from gancore.tools import Run, digest, raw_bytes

LOOKED_AT = 2**28
"""Bytes of images by which a data set is known again."""

AT_ONCE = 1024
"""Rows that are read together."""


def contents_of(run: Run) -> dict[str, list[Any]]:
    """Return the number of images of the data and of each source, as samplers leave them, and a digest of what they are."""
    streams = {"data": run.batches.stream, **{f"sources.{label}": stream for label, stream in run.batches.sources.items()}}
    return {
        label: [len(stream.labels), content_of(stream.images, stream.labels, most=LOOKED_AT)]
        for label, stream in streams.items()
    }


def content_of(*tensors: Rows, most: int | None = None) -> str:
    """Return a digest of the rows of tensors, e.g. images and their labels.

    Args:
        tensors: What is looked at in pieces, for it may be a file that is larger than the memory.
        most: Bytes of one tensor beyond which only so many of its rows are read as fit into them, evenly spaced.
    """
    pieces: list[Iterable[bytes]] = []
    for rows in tensors:
        size = max(1, rows[:1].nbytes)
        step = 1 if most is None else max(1, math.ceil(len(rows) * size / most))
        pieces.append([f"{rows.dtype}{tuple(rows.shape)}".encode()])
        pieces.append(_pieces(rows, step))
    return digest(itertools.chain.from_iterable(pieces), 32)


def digest_of(value: Any, characters: int = 12) -> str:
    """Return the `digest` of what JSON can write; the order of keys does not count, and other values count by their text."""
    return digest([json.dumps(value, sort_keys=True, default=str).encode()], characters)


def _pieces(rows: Rows, step: int) -> Iterator[bytes]:
    for start in range(0, len(rows), AT_ONCE * step):
        yield raw_bytes(rows[start : start + AT_ONCE * step : step])
