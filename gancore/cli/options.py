"""What commands share, those of plugins too: options, the words of a command line, and lines of text. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or cuda:N.")
"""Option ``--device``, passed as ``device``; `gancore.tools.choose_device` turns it into a device."""


def recipe_options(command: F) -> F:
    """Add the options that change a recipe: ``--with`` (passed as ``overlays``) and ``--set`` (``assignments``)."""
    layer = click.option("--with", "overlays", metavar="RECIPE", multiple=True, help="Layer a recipe or fragment over it.")
    assign = click.option(
        "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set one value, e.g. losses.balance.weight=5."
    )
    return layer(assign(command))


def recipe_title(recipe: str, overlays: Sequence[str]) -> str:
    """Return the name of a folder for what a recipe with its overlays trains."""
    return "+".join(Path(name).stem if name.endswith(".toml") else name.replace("/", "-") for name in (recipe, *overlays))


def command_line(command: str, recipe: str, overlays: Sequence[str], assignments: Sequence[str], *more: str) -> str:
    """Return the command line that asks for the same recipe again.

    Args:
        command: Name of the command.
        recipe: Its recipe.
        overlays: What was said with ``--with``.
        assignments: What was said with ``--set``.
        more: Further words.
    """
    options = [*(f"--with {overlay}" for overlay in overlays), *(f"--set '{assignment}'" for assignment in assignments)]
    return " ".join(["gancore", command, recipe, *options, *more])


def say(text: str) -> None:
    """Print a line, once for all processes."""
    if os.environ.get("RANK", "0") == "0":
        click.echo(text)


def aligned(rows: Iterable[Sequence[str]], *, indent: int = 0) -> Iterator[str]:
    """Yield rows of as many cells each as lines, in which the cells of a column start at one place."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield (" " * indent + "  ".join(cells)).rstrip()
