"""Digests by which images and tables are known again, wherever they lie."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from gancore.tools import Run, digest, raw_bytes

LOOKED_AT = 2**30
"""Bytes of images by which a data set is known again."""


def contents_of(run: Run) -> dict[str, list[Any]]:
    """Return the number of images of the data and of each source, as samplers leave them, and a digest of what they are."""
    streams = {"data": run.batches.stream, **{f"sources.{label}": stream for label, stream in run.batches.sources.items()}}
    return {
        label: [len(stream.labels), content_of(stream.images, stream.labels, most=LOOKED_AT)]
        for label, stream in streams.items()
    }


def content_of(*tensors: Tensor, most: int | None = None) -> str:
    """Return a digest of the rows of tensors, e.g. images and their labels.

    Args:
        tensors: What is looked at in pieces, for it may be a file that is larger than the memory.
        most: Bytes of one tensor beyond which only so many of its rows are read as fit into them, evenly spaced.
    """
    pieces: list[Iterable[bytes]] = []
    for rows in tensors:
        size = max(1, rows[:1].numel() * rows.element_size())
        step = 1 if most is None else max(1, math.ceil(len(rows) * size / most))
        pieces.append([f"{rows.dtype}{tuple(rows.shape)}".encode()])
        pieces.append(raw_bytes(piece) for piece in rows[::step].split(4096))
    return digest(itertools.chain.from_iterable(pieces), 32)


def digest_of(value: Any, characters: int = 12) -> str:
    """Return the `digest` of what JSON can write; the order of keys does not count, and other values count by their text."""
    return digest([json.dumps(value, sort_keys=True, default=str).encode()], characters)
