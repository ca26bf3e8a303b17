"""``gancore components``: what the installed plugins declare, by kind. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import click

from gancore import GancoreError
from gancore.tools import KINDS, did_you_mean, listed, plain, registry, say


@click.command()
@click.argument("kind", required=False)
def components(kind: str | None) -> None:
    """List the installed components, of one KIND or all.

    The kinds are loss, head, sampler, network and so on.
    """
    if kind is not None and kind not in KINDS:
        raise GancoreError(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)} (the kinds: {listed(KINDS)}).")
    installed = registry()
    for name in [kind] if kind else KINDS:
        declared = sorted(installed.components(name), key=lambda component: component.full_name)
        rows = [(c.full_name, f"{c.summary}  [{c.cite}]" if c.cite else c.summary) for c in declared]
        for line in [f"{name}:", *aligned(rows, indent=2)] if rows else ():
            say(line)


def aligned(rows: Iterable[Sequence[str]], *, indent: int = 0) -> Iterator[str]:
    """Yield rows of as many cells each as lines, in which the cells of a column start at one place."""
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (" " * indent + "  ".join(cells)).rstrip()
