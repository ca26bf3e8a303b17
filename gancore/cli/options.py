"""What commands share, those of plugins too: options, the words of a command line, and lines of text. Imports no torch."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gancore.errors import plain
from gancore.files import as_path
from gancore.recipe import is_path

F = TypeVar("F", bound=Callable[..., Any])


class _PathType(click.Path):
    """A path, refused where it is none that this machine can look at."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = param.opts if param is not None else ["the path"]
        return as_path(value, names[0] if names[0].startswith("-") else names[0].upper())


path_type = _PathType()
"""Type of an argument or option that names a file or a folder, for ``click.option(type=...)``; gives a `pathlib.Path`."""

device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or cuda:N.")
"""Option ``--device``, passed as ``device``; `gancore.tools.choose_device` turns it into a device."""

assignments_option = click.option(
    "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set one value, e.g. losses.balance.weight=5."
)
"""Option ``--set``, passed as ``assignments``."""


def recipe_options(command: F) -> F:
    """Add the options that change a recipe: ``--with`` (passed as ``overlays``) and ``--set`` (``assignments``)."""
    layer = click.option("--with", "overlays", metavar="RECIPE", multiple=True, help="Layer a recipe or fragment over it.")
    return layer(assignments_option(command))


def recipe_title(recipe: str, overlays: Sequence[str]) -> str:
    """Return the name of a folder for what a recipe with its overlays trains."""
    return "+".join(Path(name).stem if is_path(name) else name.replace("/", "-") for name in (recipe, *overlays))


def recipe_words(recipe: str, overlays: Sequence[str], assignments: Sequence[str], device: str = "auto") -> list[str]:
    """Return the words of a command line that ask for the same recipe on the same device again."""
    options = [("--with", overlay) for overlay in overlays] + [("--set", assignment) for assignment in assignments]
    options += [("--device", device)] if device != "auto" else []
    return [recipe, *(word for option in options for word in option)]


def command_line(*words: object) -> str:
    """Return a command line that a shell reads as these words behind ``gancore``."""
    return shlex.join(["gancore", *map(str, words)])


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
