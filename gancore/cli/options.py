"""What commands share, those of plugins too: options, errors as sentences, the words of a command line. Imports no torch."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from gancore.errors import GancoreError

F = TypeVar("F", bound=Callable[..., Any])

device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or cuda:N.")
"""Option ``--device``, passed as ``device``; `gancore.tools.choose_device` turns it into a device."""


def recipe_options(command: F) -> F:
    """Add the options that change a recipe: ``--with`` (passed as ``overlays``) and ``--set`` (``assignments``)."""
    for option in (
        click.option(
            "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set one value, e.g. losses.balance.weight=5."
        ),
        click.option("--with", "overlays", metavar="RECIPE", multiple=True, help="Layer another recipe or fragment over it."),
    ):
        command = option(command)
    return command


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


def fail(error: GancoreError) -> NoReturn:
    """Say what is wrong and end with exit status 2."""
    if _speaks():
        click.echo(f"Error: {error}", err=True)
    sys.exit(2)


def reports_errors(command: F) -> F:
    """Turn a `GancoreError` into one sentence and exit status 2, and a broken pipe into silence."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except GancoreError as error:
            fail(error)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        finally:
            _leave()

    return wrapped  # type: ignore[return-value]


def _speaks() -> bool:
    """Return whether this process is the one that says what went wrong: the first of several that fails."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from gancore.parallel import distributed

    return distributed.first_to_fail()


def _leave() -> None:
    """Leave the other processes in order; one that just ends may be aborted by its own connections."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        from gancore.parallel import distributed

        distributed.stop()
