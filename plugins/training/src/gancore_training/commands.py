"""The commands that train, sample and score. Importing this module imports no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gancore import GancoreError
from gancore.tools import as_path, read, registry, say, shown
from gancore_training.launchers import meet_as_launched
from gancore_training.options import (
    assignments_option,
    at_option,
    command_line,
    device_option,
    numbers,
    path_type,
    recipe_argument,
    recipe_options,
    recipe_words,
    run_options,
    trust_local_option,
    with_local_code,
    with_run_options,
)

if TYPE_CHECKING:
    from gancore.tools import Registry
    from gancore_training import Scores


@click.command()
@recipe_argument
@recipe_options
@run_options
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
@trust_local_option
@click.option("--yes", is_flag=True, help="Do not ask before trainings of more than ten minutes.")
@device_option
def train(
    recipe: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    seed: int | None,
    iterations: int | None,
    out: Path | None,
    observers: tuple[str, ...],
    resume: bool,
    changed: bool,
    trust_local: bool,
    yes: bool,
    device: str,
) -> None:
    """Train a recipe (a name, or a TOML file).

    Networks that the recipe needs first are trained first; which, and for about how long, is told before. Ctrl-C saves the
    run, and prints how to go on.
    """
    meet_as_launched()
    assignments = with_run_options(assignments, seed=seed, iterations=iterations)
    plugins = with_local_code(trust_local)
    # A wrong recipe is refused before torch is imported.
    read(recipe, plugins, overlays=overlays, assignments=assignments)
    from gancore.tools import choose_device
    from gancore_training import Interrupted, Terminal
    from gancore_training.asked import folder_of, train_recipe

    out = out or folder_of(recipe, overlays)
    try:
        train_recipe(
            recipe,
            plugins,
            choose_device(device),
            overlays=overlays,
            assignments=assignments,
            out=out,
            resume=resume,
            changed=changed,
            observers=observers,
            progress=Terminal(ask=not yes),
        )
    except Interrupted as stopped:
        say(f"Stopped; the newest checkpoint is {stopped.saved}.")
        tracked = [word for name in observers for word in ("--track", name)]
        words = [*recipe_words(recipe, overlays, assignments, device), "--out", out, *tracked, "--resume"]
        words += ["--trust-local"] if trust_local else []
        say(f"Saved. To go on: {command_line('train', *words)}")
        sys.exit(130)
    look = f" To look at it: {command_line('report', out)}" if "report" in registry().named("command") else ""
    say(f"The run is in {out}.{look}")


@click.command()
@click.argument("run", type=path_type)
@click.option("--n", "number", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Number of images.")
@click.option("--classes", metavar="K,K,...", help="Labels to ask a conditional generator for.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the latents.")
@click.option("--weights", default="ema", show_default=True, help="ema, live, or a further average of the recipe.")
@click.option("--out", type=path_type, help="File, x.png or x.npz, or folder.  [default: RUN/samples.png]")
@click.option("--by-class", is_flag=True, help="In a folder, the images of each class in one of their own.")
@at_option
@trust_local_option
@device_option
def sample(
    run: Path,
    number: int,
    classes: str | None,
    seed: int,
    weights: str,
    out: Path | None,
    by_class: bool,
    at: str | None,
    trust_local: bool,
    device: str,
) -> None:
    """Write generated images of a run's newest checkpoint, or of that of --at.

    The ending of the file's name says what is written: a grid (.png, .jpg, .webp), or arrays of images and labels (.npz). A
    name without an ending is a folder, into which each image is written alone, as it is.
    """
    wanted = numbers(classes, "--classes")
    from gancore.tools import choose_device
    from gancore_training import SampleFiles, Terminal, open_run, sample

    files = SampleFiles(out or run / "samples.png", registry(), by_class=by_class)
    replaced = files.path.is_file()
    opened = open_run(run, with_local_code(trust_local), choose_device(device), Terminal(), bare=True, at=at)
    files.check(opened)
    images, labels = sample(opened, number, wanted, seed=seed, weights=weights)
    files.write(opened, images, labels)
    place = ", in place of what was there" if replaced else ""
    click.echo(f"{number} images of iteration {opened.iteration} are in {files.path}{place}")


@click.command()
@click.argument("run", type=path_type)
@click.option("--metric", "metrics", metavar="NAME", multiple=True, help="Only this metric of the recipe; may be repeated.")
@assignments_option
@at_option
@click.option("--recipe", metavar="RECIPE|RUN", help="RUN holds images, a folder or an .npz: score them by this recipe.")
@click.option("--resize", is_flag=True, help="Resize such images where they have another size than the recipe's.")
@trust_local_option
@device_option
def evaluate(
    run: Path,
    metrics: tuple[str, ...],
    assignments: tuple[str, ...],
    at: str | None,
    recipe: str | None,
    resize: bool,
    trust_local: bool,
    device: str,
) -> None:
    """Score a run's newest checkpoint, or that of --at, by its recipe's metrics; or images that others made.

    Those that --set adds are computed too. The scores are appended to those of the run. Images in a folder (one a file, by
    class folders or not) or an .npz (as ADM's samples) are scored by --recipe, by as many of them and the same real images.
    """
    meet_as_launched()
    from gancore.tools import choose_device, distributed
    from gancore_training import Evaluator, RunFolder, open_run
    from gancore_training.ranks import join

    target = choose_device(device)
    join(target)
    plugins = with_local_code(trust_local)
    if recipe is not None:
        _evaluate_images(run, recipe, plugins, metrics, assignments, at, resize, target)
        return
    if resize:
        raise GancoreError("--resize is for images that others made; name the recipe to score them by with --recipe.")
    if run.exists() and not (run / "recipe.toml").is_file():
        raise GancoreError(f"{run} holds no run (there is no recipe.toml in it); to score images, name a recipe by --recipe.")
    opened = open_run(run, plugins, target, assignments=assignments, at=at)
    if not opened.plan.metrics:
        raise GancoreError(f"the recipe of {run} has no metrics; name some, e.g. --set metrics.kl.use=class-histogram.")
    scores = Evaluator(opened, metrics or None)()
    distributed.on_rank_zero(lambda: scores.write(RunFolder.open(run), opened.iteration))
    _show(scores)


def _evaluate_images(
    images: Path,
    recipe: str,
    plugins: Registry,
    metrics: tuple[str, ...],
    assignments: tuple[str, ...],
    at: str | None,
    resize: bool,
    device: Any,
) -> None:
    from gancore_training import GivenEvaluator, Terminal, build, open_run, read_images

    folder = Path(recipe)
    if (folder / "recipe.toml").is_file():
        opened = open_run(as_path(folder, "--recipe"), plugins, device, assignments=assignments, at=at)
    elif at is not None:
        raise GancoreError(f"--at is for a checkpoint, and --recipe {shown(recipe)} is no run; leave it out.")
    else:
        opened = build(read(recipe, plugins, assignments=assignments), plugins, device, Terminal())
    evaluator = GivenEvaluator(opened, read_images(images, opened, resize=resize), metrics or None)
    given = evaluator.given
    labels = "with labels" if given.labels is not None else "without labels"
    say(f"{len(given.images)} images of {images}, {labels}, by the recipe {recipe}")
    for label, needs in evaluator.left_out.items():
        say(f"left out: {label}, which needs {needs}")
    _show(evaluator())
    say("Their protocols differ from a run's in what files do not tell: seed, weights, and how labels were drawn.")


def _show(scores: Scores) -> None:
    for name, value in scores.values.items():
        text = f"{value:.4f}" if isinstance(value, float) else str(value)
        say(f"{name:32} {text}    (protocol {scores.protocols[name.split('/')[0]]['id']})")
    for warning in scores.warnings:
        say(warning)
