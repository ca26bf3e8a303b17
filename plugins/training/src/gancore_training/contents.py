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
"""Bytes of images that are read, all of them, so that a data set is known again."""

OF_MORE = 1024
"""Images of a larger one that are read, for each may have to be decoded, or fetched, before the first iteration."""

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
        most: Bytes of one tensor beyond which only some of its rows are read, evenly spaced: `OF_MORE`, or the fewer that fit
            into so many bytes.
    """
    pieces: list[Iterable[bytes]] = []
    for rows in tensors:
        size = max(1, rows[:1].nbytes)
        beyond = most is not None and len(rows) * size > most
        step = math.ceil(len(rows) / max(1, min(OF_MORE, (most or 0) // size))) if beyond else 1
        pieces.append([f"{rows.dtype}{tuple(rows.shape)}".encode()])
        pieces.append(_pieces(rows, step))
    return digest(itertools.chain.from_iterable(pieces), 32)


def digest_of(value: Any, characters: int = 12) -> str:
    """Return the `digest` of what JSON can write; the order of keys does not count, and other values count by their text."""
    return digest([json.dumps(value, sort_keys=True, default=str).encode()], characters)


def _pieces(rows: Rows, step: int) -> Iterator[bytes]:
    for start in range(0, len(rows), AT_ONCE * step):
        yield raw_bytes(rows[start : start + AT_ONCE * step : step])
