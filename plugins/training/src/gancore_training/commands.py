"""The commands that train, sample and score. Importing this module imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gancore import GancoreError
from gancore.tools import as_path, read, registry, say
from gancore_training.options import (
    assignments_option,
    command_line,
    device_option,
    path_type,
    recipe_options,
    recipe_title,
    recipe_words,
)


@click.command()
@click.argument("recipe")
@recipe_options
@click.option("--out", type=path_type, help="Folder of the run.  [default: runs/RECIPE]")
@click.option(
    "--track",
    "observers",
    metavar="PLUGIN",
    multiple=True,
    envvar="GANCORE_TRACK",
    help="Have a plugin observe the training, e.g. tensorboard; may be repeated.  [env var: GANCORE_TRACK]",
)
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint, to the last bit.")
@click.option("--changed", is_flag=True, help="Resume with another learning rate, weight of a loss, length or precision.")
@device_option
def train(
    recipe: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    out: Path | None,
    observers: tuple[str, ...],
    resume: bool,
    changed: bool,
    device: str,
) -> None:
    """Train a recipe (a name, or a TOML file).

    Networks that the recipe needs first are trained first. Ctrl-C saves the run, and prints how to go on.
    """
    checked = read(recipe, registry(), overlays=overlays, assignments=assignments)
    from gancore.tools import choose_device
    from gancore_training import Interrupted, Terminal
    from gancore_training import train as run_training

    target = choose_device(device)
    out = out or as_path(Path("runs") / recipe_title(recipe, overlays), "the folder of the run")
    try:
        run_training(
            checked, registry(), out, device=target, resume=resume, changed=changed, progress=Terminal(), observers=observers
        )
    except Interrupted as stopped:
        say(f"Stopped; the newest checkpoint is {stopped.saved}.")
        tracked = [word for name in observers for word in ("--track", name)]
        words = [*recipe_words(recipe, overlays, assignments, device), "--out", out, *tracked, "--resume"]
        say(f"Saved. To go on: {command_line('train', *words)}")
        sys.exit(130)
    look = f" To look at it: {command_line('report', out)}" if "report" in registry().commands() else ""
    say(f"The run is in {out}.{look}")


@click.command()
@click.argument("run", type=path_type)
@click.option("--n", "number", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Number of images.")
@click.option("--classes", metavar="K,K,...", help="Labels to ask a conditional generator for.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the latents.")
@click.option("--weights", default="ema", show_default=True, help="ema, live, or a further average of the recipe.")
@click.option("--out", type=path_type, help="File, x.png or x.npz, or folder.  [default: RUN/samples.png]")
@device_option
def sample(run: Path, number: int, classes: str | None, seed: int, weights: str, out: Path | None, device: str) -> None:
    """Write generated images of a run's newest checkpoint.

    The ending of the file's name says what is written, mostly a grid. A name without an ending is a folder, into which each
    image is written alone, as it is.
    """
    try:
        wanted = [int(word) for word in classes.split(",")] if classes else []
    except ValueError:
        raise GancoreError(f"--classes {classes!r} must be whole numbers with commas, e.g. 3,5.") from None
    from gancore.tools import choose_device, parameters_of
    from gancore_training import image_format, open_run, sample, shows_labels, suffixes

    path = out or run / "samples.png"
    alone = path.is_dir() or not path.suffix
    if path.is_dir() and any(path.iterdir()):
        raise GancoreError(f"{path} holds other files; name a new folder by --out, or a file such as x.png.")
    suffix = next(iter(suffixes(registry())), "png")
    write = image_format(path / f"0.{suffix}" if alone else path, registry())
    opened = open_run(run, registry(), choose_device(device), bare=True)
    images, labels = sample(opened, number, wanted, seed=seed, weights=weights)
    for place, image in enumerate(images.split(1) if alone else ()):
        write(image, path / f"{place:06d}.{suffix}", columns=0)
    if not alone:
        write(images, path, **({"labels": labels} if "labels" in parameters_of(write) and shows_labels(opened) else {}))
    click.echo(f"{number} images are in {path}")


@click.command()
@click.argument("run", type=path_type)
@click.option("--metric", "metrics", metavar="NAME", multiple=True, help="Only this metric of the recipe; may be repeated.")
@assignments_option
@device_option
def evaluate(run: Path, metrics: tuple[str, ...], assignments: tuple[str, ...], device: str) -> None:
    """Score a run's newest checkpoint by its recipe's metrics.

    Those that --set adds are computed too. The scores are appended to those of the run.
    """
    from gancore.tools import choose_device, distributed
    from gancore_training import Evaluator, RunFolder, open_run

    target = choose_device(device)
    distributed.start(target)
    opened = open_run(run, registry(), target, assignments=assignments)
    if not opened.plan.metrics:
        raise GancoreError(f"the recipe of {run} has no metrics; name some, e.g. --set metrics.kl.use=class-histogram.")
    scores = Evaluator(opened, metrics or None)()
    distributed.on_rank_zero(lambda: scores.write(RunFolder.open(run), opened.iteration))
    for name, value in scores.values.items():
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        say(f"{name:32} {shown}    (protocol {scores.protocols[name.split('/')[0]]['id']})")
    for warning in scores.warnings:
        say(warning)
