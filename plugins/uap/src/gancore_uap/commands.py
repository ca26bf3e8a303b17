"""The command group ``gancore uap``. Importing it imports no torch; a command imports what it needs when it runs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from gancore_training import device_option, path_type

from gancore import GancoreError
from gancore.tools import say
from gancore_uap import options

if TYPE_CHECKING:
    from gancore_uap.judging import Target
    from gancore_uap.workbench import Workbench

F = TypeVar("F", bound=Callable[..., Any])


@click.group("uap", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def group() -> None:
    """Craft universal perturbations without the target's data.

    \b
        gancore uap run uap/digits-prior --method uap/digits-direct \\
            --victim uap/digits-classifier --target digits

    does everything: a prior GAN on unrelated images with the victim in its loop, a proxy set from its cycles, a
    perturbation, and its fooling rate. The other commands do one stage each. Training and sampling go on where they were
    stopped, and what is finished is not repeated; scores are computed again.

    A VICTIM is the folder of a run that trained a classifier, or a recipe (a name, or a TOML file) with a
    [networks.classifier]; of several, all are fooled at once. DATA is a data set of `gancore components dataset`.
    """


def _stoppable(command: F) -> F:
    """Report a run that a signal stopped, as `gancore train` does."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from gancore_training import Interrupted

        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as stopped:
            if isinstance(stopped, Interrupted):
                click.echo(f"The newest checkpoint is {stopped.saved}.")
            click.echo("Stopped; what was finished is saved. The same command goes on from here.")
            return sys.exit(130)

    return wrapped  # type: ignore[return-value]


def _workbench(device: str) -> Workbench:
    from gancore_training import Terminal, one_process

    from gancore.tools import choose_device, registry
    from gancore_uap.workbench import Workbench

    one_process("gancore uap")
    return Workbench(registry(), choose_device(device), Terminal(), say)


@group.command(short_help="Train a prior GAN and sample its last cycles into a proxy set.")
@click.argument("recipe")
@click.option("--victim", metavar="VICTIM", help="The classifier in the loop.  [default: the recipe's]")
@options.prior
@options.out("runs/uap")
@device_option
@_stoppable
def prior(recipe: str, victim: str | None, prior: dict[str, Any], out: Path, device: str) -> None:
    """Train a prior GAN (RECIPE, e.g. uap/shapes-prior) and sample its last cycles into a proxy set.

    A cycle ends with each checkpoint, run.checkpoint_every; that of the class-balancing regularizer should be the same.
    """
    from gancore_uap.pipeline import make_proxy
    from gancore_uap.planning import plan_prior

    workbench = _workbench(device)
    make_proxy(workbench, plan_prior(workbench, recipe, victim=victim, **prior), out)


@group.command(short_help="Craft a perturbation that fools one or more victims.")
@click.argument("method", default="uap/gap")
@options.victims
@click.option("--proxy", type=path_type, help="Craft on this proxy set: OUT/proxy of `gancore uap prior`.")
@options.proxy_size
@click.option("--data", metavar="DATA", help="Craft on a data set instead.")
@options.assignments_option("--data-set", "data_assignments", "Set one value of the data, e.g. image_size=32.")
@options.overlays_option("--with", "overlays", "Layer another recipe or fragment over the method, e.g. uap/sgm.")
@options.assignments_option("--set", "assignments", "Set one value of the method, e.g. networks.generator.epsilon=0.04.")
@options.out("runs/uap")
@device_option
@_stoppable
def craft(
    method: str,
    victims: tuple[str, ...],
    proxy: Path | None,
    proxy_size: int | None,
    data: str | None,
    data_assignments: tuple[str, ...],
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    out: Path,
    device: str,
) -> None:
    """Craft a perturbation (METHOD: uap/gap, uap/gap-small, uap/direct) that fools one or more victims."""
    if (proxy is None) == (data is None):
        raise GancoreError("a perturbation is crafted on one set of images: give --proxy FOLDER or --data DATA, not both.")
    if proxy is not None and data_assignments:
        raise GancoreError("--data-set changes the data of --data; a proxy set is what it is, so leave it out.")
    if data is not None and proxy_size:
        raise GancoreError("--proxy-size is of a proxy set; set the size of --data by --data-set image_size=N.")
    from gancore_uap import pipeline, planning

    table = _proxy(proxy, proxy_size) if data is None else options.data_table(data, data_assignments, "--data-set")
    workbench = _workbench(device)
    recipe = planning.plan_crafting(
        workbench, method, victim_specs=victims, data=table, overlays=overlays, assignments=assignments
    )
    pipeline.craft(workbench, recipe, out, victim_specs=victims)


def _proxy(folder: Path | None, size: int | None) -> dict[str, Any]:
    """Return the ``[data]`` of a proxy set; the same one however its folder is spelled."""
    assert folder is not None
    return {"use": "uap/proxy", "path": str(folder.resolve()), **({"image_size": size} if size else {})}


@group.command(short_help="Score perturbations on victims with the target's images.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=path_type)
@options.victims
@options.target
@options.budgets
@options.out("runs/uap/evaluation")
@device_option
@_stoppable
def evaluate(
    files: tuple[Path, ...], victims: tuple[str, ...], target: dict[str, Any], epsilons: str | None, out: Path, device: str
) -> None:
    """Score perturbation files (rows) on victims (columns) with the target's images.

    Prints fooling rates, beside noise of the same budget, and writes all scores and pictures.
    """
    from gancore_uap.perturbation_files import Perturbation

    if len({path.resolve() for path in files}) < len(files):
        raise GancoreError("a perturbation file is named twice; name each once.")
    # Files of one name are told apart by their folders.
    names = [path.stem for path in files]
    perturbations = {
        name if names.count(name) == 1 else path.parent.name or str(path): Perturbation.load(path)
        for name, path in zip(names, files, strict=True)
    }
    if len(perturbations) < len(files):
        perturbations = {str(path): Perturbation.load(path) for path in files}
    judged_on = options.target_of(target)
    _judge(_workbench(device), perturbations, out, victims, judged_on, options.numbers(epsilons, "--epsilon"))


def _judge(
    workbench: Workbench, perturbations: Any, out: Path, victims: Sequence[str], target: Target, epsilons: Sequence[float]
) -> None:
    from gancore_uap import tables
    from gancore_uap.judging import judge

    judgment = judge(workbench, perturbations, out, victim_specs=victims, target=target, epsilons=epsilons)
    click.echo("\nThe fooling rate is the share of images whose predicted class changes.")
    say(tables.text_table(judgment.matrix))
    if not target.foreign:
        say(tables.accuracy_table(judgment.matrix))
    click.echo(f"All scores are in {out / 'evaluation.json'}, pictures beside it.")


@group.command(short_help="Do all: prior, proxy set, perturbation, scores.")
@click.argument("recipe")
@options.victims
@click.option("--classifier", metavar="VICTIM", help="The classifier in the GAN's loop.  [default: the first victim]")
@options.prior
@options.proxy_size
@click.option("--method", default="uap/gap", show_default=True, help="A crafting recipe: uap/gap, uap/direct, ...")
@options.overlays_option("--method-with", "method_overlays", "Layer another recipe or fragment over the method.")
@options.assignments_option("--method-set", "method_assignments", "Set one value of the method.")
@options.target
@options.budgets
@options.out("runs/uap")
@device_option
@_stoppable
def run(
    recipe: str,
    victims: tuple[str, ...],
    classifier: str | None,
    prior: dict[str, Any],
    proxy_size: int | None,
    method: str,
    method_overlays: tuple[str, ...],
    method_assignments: tuple[str, ...],
    target: dict[str, Any],
    epsilons: str | None,
    out: Path,
    device: str,
) -> None:
    """Do all: a prior GAN (RECIPE), a proxy set, a perturbation, and its scores.

    The first victim is the classifier in the GAN's loop, unless --classifier names another. Where the victims take larger
    images than the GAN makes, --proxy-size is theirs.
    """
    from gancore_uap import pipeline, planning
    from gancore_uap.judging import check_target
    from gancore_uap.perturbation_files import Perturbation

    budgets, judged_on = options.numbers(epsilons, "--epsilon"), options.target_of(target)
    workbench = _workbench(device)
    how: dict[str, Any] = {"victim_specs": victims, "overlays": method_overlays, "assignments": method_assignments}
    # All that can be wrong is found before the first of the stages, which take long.
    planned = planning.plan_prior(workbench, recipe, victim=classifier or victims[0], **prior)
    like = planned.recipe.table["data"] | ({"image_size": proxy_size} if proxy_size else {})
    planning.plan_crafting(workbench, method, data=like, **how)
    check_target(workbench, victims, judged_on, budgets)
    folder = pipeline.make_proxy(workbench, planned, out)
    crafting = planning.plan_crafting(workbench, method, data=_proxy(folder, proxy_size), **how)
    path = pipeline.craft(workbench, crafting, out, victim_specs=victims)
    _judge(workbench, {"uap": Perturbation.load(path)}, out / "evaluation", victims, judged_on, budgets)
