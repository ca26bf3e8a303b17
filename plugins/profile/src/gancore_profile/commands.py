"""The command ``gancore profile``. Importing this module imports no torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gancore_training import device_option, path_type, recipe_argument, recipe_options

from gancore import GancoreError

if TYPE_CHECKING:
    from gancore_training import TrainingRun


@click.command()
@recipe_argument
@recipe_options
@click.option("--iterations", type=click.IntRange(1), default=10, show_default=True, help="Of each of the two timed passes.")
@click.option("--out", type=path_type, help="JSON file to write, with every span.")
@device_option
def profile(
    recipe: str, overlays: tuple[str, ...], assignments: tuple[str, ...], iterations: int, out: Path | None, device: str
) -> None:
    """Print where a recipe's iteration spends its time, and how near that is to this machine's best. No run is kept.

    Networks that other recipes train are measured with untrained weights, which take the same time.
    """
    from gancore_training import TrainingRun, one_process

    from gancore.tools import choose_device, make_plan, read, registry, say, write_text

    checked = read(recipe, registry(), overlays=overlays, assignments=assignments)
    target = choose_device(device)
    one_process("gancore profile")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise GancoreError(
            f"--out {out} can't be written: {'it' if out.is_dir() else out.parent} is "
            f"{'a folder' if out.is_dir() else 'no folder'}; name a file in a folder that exists."
        )
    from gancore_profile.profile_text import as_table, as_text
    from gancore_profile.profiling import profile as measure

    run = TrainingRun(make_plan(checked, registry()), target)
    measured = measure(run, iterations, _accelerated(run))
    say(as_text(measured))
    if out is not None:
        try:
            write_text(out, json.dumps(as_table(measured), indent=2) + "\n")
        except OSError as error:
            raise GancoreError(f"--out {out} can't be written: {error.strerror}; choose another file.") from error
        click.echo(f"The numbers are in {out}")


def _accelerated(run: TrainingRun) -> Callable[[], None] | None:
    """Have a run's iterations accelerated, but for graphs; return what runs them with graphs, if the recipe asks for those."""
    plain = replayed = run.step
    for name, accelerator in run.plan.accelerators:

        def tell(status: str, name: str = name) -> None:
            click.echo(f"{name} is {status}")

        if name == "profile/cpu-graphs":
            replayed = accelerator(run, replayed, tell)
        elif replayed != plain:
            # What comes after a graph acts around it.
            plain, replayed = accelerator(run, plain, lambda _status: None), accelerator(run, replayed, tell)
        elif name != "profile/cuda-graphs":
            # Those of a GPU are not measured: nobody has seen them run.
            plain = replayed = accelerator(run, plain, tell)
    run.step = plain  # type: ignore[method-assign]
    return None if replayed == plain else replayed
