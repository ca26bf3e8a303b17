"""What commands print: lines of text that a terminal shows and nothing that it would obey. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

import click

from gancore.errors import plain


def say(text: str) -> None:
    """Print lines of text and of nothing that a terminal would obey, once for all processes."""
    if os.environ.get("RANK", "0") == "0":
        click.echo("\n".join(map(plain, text.split("\n"))))


def aligned(rows: Iterable[Sequence[str]], *, indent: int = 0) -> Iterator[str]:
    """Yield rows of as many cells each as lines, in which the cells of a column start at one place."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (" " * indent + "  ".join(cells)).rstrip()
