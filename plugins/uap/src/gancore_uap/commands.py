"""The command group ``gancore uap``. Importing it imports no torch; a command imports what it needs when it runs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gancore import GancoreError
from gancore.tools import reports_errors

if TYPE_CHECKING:
    from gancore_uap.judging import Judgement, Target
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
    stopped, and what is finished is not repeated; scores are made anew.

    A VICTIM is the folder of a run that trained a classifier, or a recipe (a name, or a TOML file) with a
    [networks.classifier]; of several, all are fooled at once. DATA is a data set of `gancore components dataset`.
    """


def _stoppable(command: F) -> F:
    """Report a run that a signal stopped, and errors, as `gancore train` does."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from gancore.tools import Interrupted

        try:
            return command(*args, **kwargs)
        except (Interrupted, KeyboardInterrupt):
            click.echo("Stopped; what was finished is saved. The same command goes on from here.")
            return sys.exit(130)

    return reports_errors(wrapped)  # type: ignore[return-value]


def _workbench(device: str) -> Workbench:
    from gancore.tools import Terminal, choose_device, distributed, registry
    from gancore_uap.workbench import Workbench

    distributed.one_process("gancore uap")
    return Workbench(registry(), choose_device(device), Terminal(), click.echo)


def _table(name: str, assignments: Sequence[str], option: str) -> dict[str, Any]:
    """Return the ``[data]`` that a name and ``KEY=VALUE`` texts stand for."""
    from gancore.tools import assignment, merge

    table: dict[str, Any] = {"use": name}
    for text in assignments:
        table = merge(table, assignment(text, option))
    return table


def _numbers(text: str | None, option: str) -> list[float]:
    """Return budgets on the [0, 1] scale, which are written as ``4/255,10/255`` or ``0.02,0.04``."""
    budgets = []
    for word in text.split(",") if text else []:
        above, _, below = word.partition("/")
        try:
            budgets.append(float(above) / float(below) if below else float(above))
        except (ValueError, ZeroDivisionError):
            raise GancoreError(f"{option} {text!r} is no list of budgets; write it as 4/255,10/255 or 0.02,0.04.") from None
    return budgets


_victim = click.option("--victim", "victim", metavar="VICTIM", help="The classifier in the loop.  [default: the recipe's]")
_victims = click.option("--victim", "victims", metavar="VICTIM", multiple=True, required=True, help="May be repeated.")
_device = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or cuda:N.")
_cycles = click.option(
    "--cycles", type=click.IntRange(1), help="The last ones are sampled.  [default: the recipe's run.keep_checkpoints]"
)
_images = click.option("--images", type=click.IntRange(1), default=1024, show_default=True, help="Of each cycle.")
_form = click.option("--format", "form", type=click.Choice(["safetensors", "png"]), default="safetensors", show_default=True)
_method = click.option("--method", default="uap/gap", show_default=True, help="A crafting recipe: uap/gap, uap/direct, ...")
_split = click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
_samples = click.option("--samples", type=click.IntRange(1), default=10_000, show_default=True, help="Images to test on.")
_budgets = click.option("--epsilon", "epsilons", metavar="E,E,...", help="Further budgets to scale to, e.g. 4/255,8/255.")
_foreign = click.option(
    "--other-classes", "foreign", is_flag=True, help="The target's classes are not the victims': no accuracies."
)
_wanted = click.option("--target-class", "wanted", type=click.IntRange(0), help="Count how often images are taken for it.")


def _out(default: str) -> Callable[[F], F]:
    folder = click.Path(path_type=Path)
    return click.option("--out", type=folder, default=Path(default), show_default=True, help="Folder of the results.")


def _with(help_text: str, name: str = "--with") -> Callable[[F], F]:
    return click.option(name, name.strip("-").replace("-", "_") + "s", metavar="RECIPE", multiple=True, help=help_text)


def _set(help_text: str, name: str = "--set") -> Callable[[F], F]:
    return click.option(name, name.strip("-").replace("-", "_") + "s", metavar="KEY=VALUE", multiple=True, help=help_text)


@group.command(short_help="Train a prior GAN and sample its last cycles into a proxy set.")
@click.argument("recipe")
@_with("Layer another recipe or fragment over it.")
@_set("Set one value of it.")
@_victim
@_cycles
@_images
@_form
@_out("runs/uap")
@_device
@_stoppable
def prior(
    recipe: str,
    withs: tuple[str, ...],
    sets: tuple[str, ...],
    victim: str | None,
    cycles: int | None,
    images: int,
    form: str,
    out: Path,
    device: str,
) -> None:
    """Train a prior GAN (RECIPE, e.g. uap/shapes-prior) and sample its last cycles into a proxy set.

    A cycle ends with each checkpoint, run.checkpoint_every; that of the class-balancing regularizer should be the same.
    """
    from gancore_uap.pipeline import make_proxy
    from gancore_uap.planning import plan_prior

    kinds: Any = form
    workbench = _workbench(device)
    planned = plan_prior(
        workbench, recipe, victim=victim, overlays=withs, assignments=sets, cycles=cycles, images=images, form=kinds
    )
    make_proxy(workbench, planned, out)


@group.command(short_help="Craft a perturbation that fools one or more victims.")
@click.argument("method", default="uap/gap")
@_victims
@click.option("--proxy", type=click.Path(path_type=Path), help="Craft on this proxy set: OUT/proxy of `gancore uap prior`.")
@click.option("--data", metavar="DATA", help="Craft on a data set instead.")
@_set("Set one value of the data, e.g. image_size=32.", "--data-set")
@_with("Layer another recipe or fragment over the method, e.g. uap/sgm.")
@_set("Set one value of the method, e.g. networks.generator.epsilon=0.04.")
@_out("runs/uap")
@_device
@_stoppable
def craft(
    method: str,
    victims: tuple[str, ...],
    proxy: Path | None,
    data: str | None,
    data_sets: tuple[str, ...],
    withs: tuple[str, ...],
    sets: tuple[str, ...],
    out: Path,
    device: str,
) -> None:
    """Craft a perturbation (METHOD: uap/gap, uap/gap-small, uap/direct) that fools one or more victims."""
    if (proxy is None) == (data is None):
        raise GancoreError("a perturbation is crafted on one set of images: give --proxy FOLDER or --data DATA, not both.")
    if proxy is not None and data_sets:
        raise GancoreError("--data-set changes the data of --data; a proxy set is what it is, so leave it out.")
    from gancore_uap import pipeline, planning

    table = _proxy(proxy) if data is None else _table(data, data_sets, "--data-set")
    workbench = _workbench(device)
    recipe = planning.plan_crafting(workbench, method, victim_specs=victims, data=table, overlays=withs, assignments=sets)
    pipeline.craft(workbench, recipe, out, victim_specs=victims)


def _proxy(folder: Path | None) -> dict[str, Any]:
    """Return the ``[data]`` of a proxy set; the same one however its folder is spelt."""
    assert folder is not None
    return {"use": "uap/proxy", "path": str(folder.resolve())}


@group.command(short_help="Score perturbations on victims with the target's images.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@_victims
@click.option("--target", "data", metavar="DATA", required=True, help="The target's data set.")
@_set("Set one value of the target's data, e.g. image_size=128.", "--target-set")
@_split
@_samples
@_budgets
@_wanted
@_foreign
@_out("runs/uap/evaluation")
@_device
@_stoppable
def evaluate(
    files: tuple[Path, ...],
    victims: tuple[str, ...],
    data: str,
    target_sets: tuple[str, ...],
    split: str,
    samples: int,
    epsilons: str | None,
    wanted: int | None,
    foreign: bool,
    out: Path,
    device: str,
) -> None:
    """Score perturbation files (rows) on victims (columns) with the target's images.

    Prints fooling rates, beside noise of the same budget, and writes all scores and pictures.
    """
    from gancore_uap.judging import Target
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
    target = Target(_table(data, target_sets, "--target-set"), split, samples, wanted=wanted, foreign=foreign)
    _judge(_workbench(device), perturbations, out, victims, target, _numbers(epsilons, "--epsilon"))


def _judge(
    workbench: Workbench, perturbations: Any, out: Path, victims: Sequence[str], target: Target, epsilons: Sequence[float]
) -> Judgement:
    from gancore_uap import tables
    from gancore_uap.judging import judge

    judgement = judge(workbench, perturbations, out, victim_specs=victims, target=target, epsilons=epsilons)
    click.echo("\nThe fooling rate is the share of images whose predicted class changes.")
    click.echo(tables.text_table(judgement.matrix))
    if not target.foreign:
        click.echo(tables.accuracy_table(judgement.matrix))
    click.echo(f"All scores are in {out / 'evaluation.json'}, pictures beside it.")
    return judgement


@group.command(short_help="Do all: prior, proxy set, perturbation, scores.")
@click.argument("recipe")
@_with("Layer another recipe or fragment over it.")
@_set("Set one value of it.")
@_victims
@_cycles
@_images
@_form
@_method
@_with("Layer another recipe or fragment over the method.", "--method-with")
@_set("Set one value of the method.", "--method-set")
@click.option("--target", "data", metavar="DATA", required=True, help="The target's data set, used for the scores alone.")
@_set("Set one value of the target's data.", "--target-set")
@_split
@_samples
@_budgets
@_wanted
@_foreign
@_out("runs/uap")
@_device
@_stoppable
def run(
    recipe: str,
    withs: tuple[str, ...],
    sets: tuple[str, ...],
    victims: tuple[str, ...],
    cycles: int | None,
    images: int,
    form: str,
    method: str,
    method_withs: tuple[str, ...],
    method_sets: tuple[str, ...],
    data: str,
    target_sets: tuple[str, ...],
    split: str,
    samples: int,
    epsilons: str | None,
    wanted: int | None,
    foreign: bool,
    out: Path,
    device: str,
) -> None:
    """Do all: a prior GAN (RECIPE), a proxy set, a perturbation, and its scores.

    The first victim is the classifier in the GAN's loop.
    """
    from gancore_uap import pipeline, planning
    from gancore_uap.judging import Target, check_target
    from gancore_uap.perturbation_files import Perturbation

    budgets = _numbers(epsilons, "--epsilon")
    target = Target(_table(data, target_sets, "--target-set"), split, samples, wanted=wanted, foreign=foreign)
    kinds: Any = form
    workbench = _workbench(device)
    # All that can be wrong is found before the first of the stages, which take long.
    prior = planning.plan_prior(
        workbench, recipe, victim=victims[0], overlays=withs, assignments=sets, cycles=cycles, images=images, form=kinds
    )
    how: dict[str, Any] = {"victim_specs": victims, "overlays": method_withs, "assignments": method_sets}
    planning.plan_crafting(workbench, method, data=prior.recipe.table["data"], **how)
    check_target(workbench, victims, target, budgets)
    folder = pipeline.make_proxy(workbench, prior, out)
    crafting = planning.plan_crafting(workbench, method, data=_proxy(folder), **how)
    path = pipeline.craft(workbench, crafting, out, victim_specs=victims)
    _judge(workbench, {"uap": Perturbation.load(path)}, out / "evaluation", victims, target, budgets)
