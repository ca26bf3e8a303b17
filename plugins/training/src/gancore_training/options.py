"""What commands share that take recipes and runs: options, and the words of a command line. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from gancore import GancoreError
from gancore.tools import Registry, as_path, is_path, registry, shown
from gancore_training.allocator import keep_freed_memory
from gancore_training.completion import complete_fragment, complete_key, complete_recipe
from gancore_training.local_code import LocalCode

F = TypeVar("F", bound=Callable[..., Any])


class _PathType(click.Path):
    """A path, refused where it is none that this machine can look at."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        names = param.opts if param is not None else ["the path"]
        return as_path(value, names[0] if names[0].startswith("-") else names[0].upper())


path_type = _PathType()
"""Type of an argument or option that names a file or a folder, for ``click.option(type=...)``; gives a `pathlib.Path`."""


def _computing(_ctx: click.Context, _parameter: click.Parameter, device: str) -> str:
    keep_freed_memory()
    return device


device_option = click.option(
    "--device", default="auto", show_default=True, callback=_computing, help="auto, cpu, cuda, or cuda:N."
)
"""Option ``--device``, passed as ``device``; `gancore.tools.choose_device` turns it into a device. What has it computes, and so
keeps freed memory."""

trust_local_option = click.option(
    "--trust-local", is_flag=True, help='Run the code of files that the recipe names, e.g. use = "./mine.py:Mine".'
)
"""Option ``--trust-local``, passed as ``trust_local``; `with_local_code` gives the registry for it."""

assignments_option = click.option(
    "--set",
    "assignments",
    metavar="KEY=VALUE",
    multiple=True,
    shell_complete=complete_key,
    help="Set one value, e.g. losses.balance.weight=5.",
)
"""Option ``--set``, passed as ``assignments``."""


at_option = click.option(
    "--at",
    metavar="ITERATION|best:SCORE",
    help="The stored checkpoint to take, e.g. 2000, or best:fid/fid for the best by that score.  [default: the newest]",
)
"""Option ``--at``, passed as ``at`` (None for the newest checkpoint), as `open_run` takes it."""


recipe_argument = click.argument("recipe", shell_complete=complete_recipe)
"""Argument RECIPE, passed as ``recipe``, which a shell completes."""


def recipe_options(command: F) -> F:
    """Add the options that change a recipe: ``--with`` (passed as ``overlays``) and ``--set`` (``assignments``)."""
    layer = click.option(
        "--with",
        "overlays",
        metavar="RECIPE",
        multiple=True,
        shell_complete=complete_fragment,
        help="Layer a recipe or fragment over it.",
    )
    return layer(assignments_option(command))


def run_options(command: F) -> F:
    """Add short forms of ``--set`` for what is set most often: ``--seed`` and ``--iterations``; see `with_run_options`."""
    seed = click.option("--seed", type=click.IntRange(0), metavar="N", help="Short for --set run.seed=...")
    length = click.option("--iterations", type=click.IntRange(1), metavar="N", help="Short for --set run.iterations=...")
    return seed(length(command))


def with_run_options(assignments: Sequence[str], *, seed: int | None, iterations: int | None) -> tuple[str, ...]:
    """Return assignments with those that the short forms stand for."""
    short = {"run.seed": seed, "run.iterations": iterations}
    return (*assignments, *(f"{key}={value}" for key, value in short.items() if value is not None))


def numbers(text: str | None, option: str) -> list[int]:
    """Return the whole numbers of a text that has commas between them; none where there is no text.

    Raises:
        GancoreError: It is no such text.
    """
    try:
        return [int(word) for word in text.split(",")] if text else []
    except ValueError:
        raise GancoreError(f"{option} {shown(text)} must be whole numbers with commas, e.g. 3,5.") from None


def with_local_code(trusted: bool) -> Registry:
    """Return the installed plugins, and the code of files where that is trusted."""
    return LocalCode(registry(), trusted=trusted)


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
