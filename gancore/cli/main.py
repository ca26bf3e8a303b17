"""The command line. Importing this module imports no torch; a command imports what it needs when it runs."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gancore.errors import GancoreError
from gancore.version import __version__

if TYPE_CHECKING:
    import torch

    from gancore.recipe import Recipe, Registry

F = TypeVar("F", bound=Callable[..., Any])

OWN = (
    "train",
    "sample",
    "evaluate",
    "attack",
    "ablate",
    "compare",
    "report",
    "recipes",
    "components",
    "plugins",
    "show",
    "explain",
    "profile",
    "new-plugin",
    "doctor",
)


class Group(click.Group):
    """The command group; commands of plugins are found when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return core's commands in the order of a first day's work, then those of plugins."""
        return [*OWN, *sorted(self._declared())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; one of a plugin is imported now."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in self._declared():
            return own
        try:
            command = _registry().load(self._declared()[cmd_name])
        except GancoreError as error:
            _fail(error)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing those of plugins."""
        own = [(name, self.commands[name].get_short_help_str(200)) for name in OWN]
        with formatter.section("Commands"):
            formatter.write_dl(own)
        declared = [(name, component.summary) for name, component in sorted(self._declared().items())]
        if declared:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(declared)

    @staticmethod
    def _declared() -> dict[str, Any]:
        return {name: component for name, component in _registry().commands().items() if name not in OWN}


def _registry() -> Registry:
    from gancore.recipe import registry

    return registry()


def _fail(error: GancoreError) -> Any:
    if _speaks():
        click.echo(f"Error: {error}", err=True)
    sys.exit(2)


def _speaks() -> bool:
    """Return whether this process is the one that says what went wrong: the first of several that fails."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from gancore.parallel.distributed import first_to_fail

    return first_to_fail()


def _leave() -> None:
    """Leave the other processes in order; one that just ends may be aborted by its own connections."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        from gancore.parallel.distributed import stop

        stop()


def _say(text: str) -> None:
    """Print a line, once for all processes."""
    if os.environ.get("RANK", "0") == "0":
        click.echo(text)


def reports_errors(command: F) -> F:
    """Turn a `GancoreError` into one sentence and exit status 2, and a broken pipe into silence."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except GancoreError as error:
            return _fail(error)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return sys.exit(1)
        finally:
            _leave()

    return wrapped  # type: ignore[return-value]


def _recipe_options(command: F) -> F:
    for option in (
        click.option(
            "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set one value, e.g. losses.balance.weight=5."
        ),
        click.option("--with", "overlays", metavar="RECIPE", multiple=True, help="Layer another recipe or fragment over it."),
    ):
        command = option(command)
    return command


_device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, or cuda:N.")


def _read(recipe: str, overlays: Sequence[str], assignments: Sequence[str]) -> Recipe:
    from gancore.recipe import read

    return read(recipe, _registry(), overlays=overlays, assignments=assignments)


def _title(recipe: str, overlays: Sequence[str]) -> str:
    """Return the name of a folder for what a recipe trains."""
    return "+".join(Path(name).stem if name.endswith(".toml") else name.replace("/", "-") for name in (recipe, *overlays))


def _again(command: str, recipe: str, overlays: Sequence[str], assignments: Sequence[str]) -> list[str]:
    """Return the words of a command line that asks for the same recipe again."""
    return [f"gancore {command}", recipe, *(f"--with {o}" for o in overlays), *(f"--set '{a}'" for a in assignments)]


def _device(name: str) -> torch.device:
    from gancore.engine import choose_device

    return choose_device(name)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gancore")
def main() -> None:
    """GAN research as installable, composable plugins.

    A recipe names the parts of a training; a fragment adds a method to any recipe:

    \b
        gancore train cbgan/digits-lt-baseline --with cbgan/class-balance
    """


@main.command()
@click.argument("recipe")
@_recipe_options
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/RECIPE]")
@click.option("--resume", is_flag=True, help="Go on, to the last bit, from the newest checkpoint in the folder.")
@_device_option
@reports_errors
def train(
    recipe: str, overlays: tuple[str, ...], assignments: tuple[str, ...], out: Path | None, resume: bool, device: str
) -> None:
    """Train a recipe (a name, or a TOML file).

    Networks that the recipe needs first are trained first. Ctrl-C saves the run, and prints how to go on.
    """
    checked = _read(recipe, overlays, assignments)
    target = _device(device)
    from gancore.training import Interrupted, Terminal
    from gancore.training import train as run_training

    out = out or Path("runs") / _title(recipe, overlays)
    progress = Terminal()
    try:
        run_training(checked, _registry(), out, device=target, resume=resume, progress=progress)
    except Interrupted:
        again = _again("train", recipe, overlays, assignments)
        _say(f"Saved. To go on: {' '.join([*again, f'--out {out}', '--resume'])}")
        sys.exit(130)
    _say(f"The run is in {out}. To look at it: gancore report {out}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--n", "number", type=click.IntRange(1, 100_000), default=64, show_default=True, help="Number of images.")
@click.option("--classes", metavar="K,K,...", help="Labels to ask a conditional generator for.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the latents.")
@click.option("--weights", type=click.Choice(["ema", "live"]), default="ema", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="PNG file to write.  [default: RUN/samples.png]")
@_device_option
@reports_errors
def sample(run: Path, number: int, classes: str | None, seed: int, weights: str, out: Path | None, device: str) -> None:
    """Write a grid of generated images from a run's newest checkpoint."""
    try:
        wanted = [int(word) for word in classes.split(",")] if classes else []
    except ValueError:
        raise GancoreError(f"--classes {classes!r} must be whole numbers with commas, e.g. 3,5.") from None
    from gancore.training import open_run, sample, save_grid

    opened = open_run(run, _registry(), _device(device))
    images, _ = sample(opened, number, wanted, seed=seed, weights=weights)
    path = out or run / "samples.png"
    save_grid(images, path)
    click.echo(f"{number} images are in {path}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--metric", "metrics", metavar="NAME", multiple=True, help="Only this metric of the recipe; may be repeated.")
@_device_option
@reports_errors
def evaluate(run: Path, metrics: tuple[str, ...], device: str) -> None:
    """Score a run's newest checkpoint by its recipe's metrics, and append the scores to the run."""
    from gancore.parallel import distributed
    from gancore.training import Evaluator, RunFolder, open_run, write_scores

    target = _device(device)
    distributed.start(target)
    opened = open_run(run, _registry(), target)
    if not opened.plan.metrics:
        raise GancoreError(
            f"the recipe of {run} has no metrics; train it with some, e.g. --set metrics.kl.use=class-histogram."
        )
    scores = Evaluator(opened, metrics or None)()
    distributed.on_rank_zero(lambda: write_scores(RunFolder.open(run), opened.iteration, scores))
    for name, value in scores.values.items():
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        _say(f"{name:32} {shown}    (protocol {scores.protocols[name.split('/')[0]]['id']})")


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--attack", "name", default="fastrobgan/pgd", show_default=True, help="Attack of `gancore components attack`.")
@click.option(
    "--epsilon", "budgets", default="0.02,0.04,0.08", show_default=True, metavar="E,E,...", help="On the [-1, 1] scale."
)
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="A setting of the attack, e.g. steps=20.")
@click.option("--classifier", help="A classifier of the run, or a head of its discriminator.  [default: the first]")
@click.option("--samples", type=click.IntRange(1), default=1000, show_default=True, help="Real images to attack.")
@click.option("--split", type=click.Choice(["train", "test"]), default="test", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the attack's random starts.")
@_device_option
@reports_errors
def attack(
    run: Path,
    name: str,
    budgets: str,
    assignments: tuple[str, ...],
    classifier: str | None,
    samples: int,
    split: str,
    seed: int,
    device: str,
) -> None:
    """Attack a run's classifier, or its discriminator's class head, and append the robust accuracy to the run."""
    from gancore_standard.robustness import robust_accuracy

    from gancore.recipe import assignment, merge
    from gancore.training import RunFolder, open_run

    try:
        epsilons = [float(word) for word in budgets.split(",")]
    except ValueError:
        raise GancoreError(f"--epsilon {budgets!r} is no list of numbers; write it as 0.02,0.04,0.08.") from None
    settings: dict[str, Any] = {}
    for text in assignments:
        settings = merge(settings, assignment(text))
    if "epsilon" in settings:
        raise GancoreError("--set epsilon is for a recipe; an attack's budgets are given by --epsilon 0.02,0.04,0.08.")
    opened = open_run(run, _registry(), _device(device))
    found = robust_accuracy(
        opened, name, epsilons, settings=settings, classifier=classifier, samples=samples, split=split, seed=seed
    )
    folder = RunFolder.open(run)
    entry = {"iteration": opened.iteration, "natural": found.natural, "accuracy": found.accuracy}
    folder.append(folder.attacks, {**entry, "lipschitz": found.lipschitz, "protocol": found.protocol})
    click.echo(f"{found.protocol['classifier']}, {found.protocol['images']} images  (protocol {found.protocol['id']})")
    click.echo(f"  natural        {100 * found.natural:6.2f} %")
    for epsilon, value in found.accuracy.items():
        click.echo(f"  epsilon {epsilon:6} {100 * value:6.2f} %")
    click.echo(f"  local Lipschitz value {found.lipschitz:.4g}")


@main.command()
@click.argument("recipe")
@_recipe_options
@click.option(
    "--drop",
    "drops",
    metavar="PART",
    multiple=True,
    help="Part to do without, e.g. losses.balance; may be repeated.  [default: each loss term, attack and sampler]",
)
@click.option("--seeds", type=int, default=3, show_default=True, help="Runs of each variant, from the recipe's seed on.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the runs.  [default: runs/RECIPE-ablation]")
@_device_option
@reports_errors
def ablate(
    recipe: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    drops: tuple[str, ...],
    seeds: int,
    out: Path | None,
    device: str,
) -> None:
    """Train a recipe whole and without each of some parts, for several seeds, and print the table of scores.

    The adversarial loss is dropped only by name. Ctrl-C saves; the same command goes on, and repeats no finished run.
    """
    checked = _read(recipe, overlays, assignments)
    target = _device(device)
    from gancore_report.ablation import ablate as run_ablation

    from gancore.training import Interrupted, Terminal

    out = out or Path("runs") / f"{_title(recipe, overlays)}-ablation"
    try:
        table = run_ablation(checked, _registry(), out, drops=drops, seeds=seeds, device=target, progress=Terminal())
    except Interrupted:
        again = [*_again("ablate", recipe, overlays, assignments), *(f"--drop {part}" for part in drops)]
        click.echo(f"Saved. To go on, the same command: {' '.join([*again, f'--seeds {seeds}', f'--out {out}'])}")
        sys.exit(130)
    click.echo(table.text())
    click.echo(f"\nThe table is in {out / 'ablation.md'}, and its values by seed in {out / 'ablation.json'}")


@main.command()
@click.argument("runs", metavar="RUN...", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--metric", "metrics", metavar="NAME", multiple=True, help="Only these scores: fid, or fid/fid; may be repeated.")
@click.option(
    "--at",
    metavar="WHEN",
    default="last",
    show_default=True,
    help="Evaluation of each run: last, an iteration, or best:SCORE, e.g. best:fid/fid.",
)
@click.option("--each", is_flag=True, help="One row per run; do not average runs that differ only in their seed.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the table there too: a name in .md, or in .json.")
@reports_errors
def compare(runs: tuple[Path, ...], metrics: tuple[str, ...], at: str, each: bool, out: Path | None) -> None:
    """Print the scores of runs side by side; what was scored by different protocols never shares a column.

    Runs that differ only in their seed share a row, as mean ± sample deviation. Nothing is scored or trained.
    """
    from gancore_report.comparison import compare as compare_runs
    from gancore_report.comparison import write

    compared = compare_runs(runs, metrics=metrics, at=at, each=each)
    if out is not None:
        write(compared, out)
    click.echo(compared.text(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    if out is not None:
        click.echo(f"\nThe table is in {out}")


@main.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("--out", type=click.Path(path_type=Path), help="HTML file to write.  [default: RUN/report.html]")
@reports_errors
def report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write one self-contained HTML page: samples, curves, class histograms, runs side by side."""
    from gancore_report import write_report

    click.echo(f"The report is {write_report(runs, out or runs[0] / 'report.html')}")


@main.command()
@reports_errors
def recipes() -> None:
    """List the installed recipes."""
    from gancore.files import toml

    found = _registry().recipes()
    width = max(map(len, found), default=0)
    for name, path in sorted(found.items()):
        try:
            summary = toml.read(path).get("summary", "")
        except GancoreError as error:
            summary = f"(broken: {error})"
        click.echo(f"{name:{width}}  {summary}")


@main.command()
@click.argument("kind", required=False)
@reports_errors
def components(kind: str | None) -> None:
    """List the installed components, of one KIND (loss, head, sampler, network and so on) or all."""
    from gancore.contract import KINDS
    from gancore.errors import did_you_mean, listed

    if kind is not None and kind not in KINDS:
        raise GancoreError(f"there is no kind {kind!r}{did_you_mean(kind, KINDS)} (the kinds: {listed(KINDS)}).")
    for name in [kind] if kind else KINDS:
        found = sorted(_registry().components(name), key=lambda c: c.full_name)
        if not found:
            continue
        click.echo(f"{name}:")
        width = max(len(component.full_name) for component in found)
        for component in found:
            cite = f"  [{component.cite}]" if component.cite else ""
            click.echo(f"  {component.full_name:{width}}  {component.summary}{cite}")


@main.command()
@reports_errors
def plugins() -> None:
    """List the installed plugins, and what is wrong with the broken ones."""
    for plugin in _registry().plugins():
        counts = [_counted(len(found), kind) for kind, found in plugin.components.items()]
        recipes = sum(name.startswith(f"{plugin.name}/") for name in _registry().recipes())
        counts += [_counted(recipes, "recipe")] if recipes else []
        state = "broken" if plugin.problem else ", ".join(counts) or "declares nothing"
        click.echo(f"{plugin.name:16} {plugin.distribution} {plugin.version}: {state}")
        for line in [*([plugin.problem] if plugin.problem else []), *plugin.warnings]:
            click.echo(f"{'':16} {line}")


def _counted(number: int, noun: str) -> str:
    plural = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural}"


@main.command()
@click.argument("name")
@reports_errors
def show(name: str) -> None:
    """Show a component (settings, documentation, citation) or a recipe (resolved)."""
    from gancore.cli.show import describe

    click.echo(describe(name, _registry()))


@main.command()
@click.argument("recipe")
@_recipe_options
@reports_errors
def explain(recipe: str, overlays: tuple[str, ...], assignments: tuple[str, ...]) -> None:
    """Print a recipe's plan: phases, passes, parts, versions, conflicts. Nothing is trained."""
    from gancore.cli.explain import explain as explain_plan
    from gancore.plan import make_plan

    click.echo(explain_plan(make_plan(_read(recipe, overlays, assignments), _registry())))


@main.command("profile")
@click.argument("recipe")
@_recipe_options
@click.option("--iterations", type=click.IntRange(1), default=10, show_default=True, help="Of each of the two timed passes.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file to write, with every span.")
@_device_option
@reports_errors
def profile_recipe(
    recipe: str, overlays: tuple[str, ...], assignments: tuple[str, ...], iterations: int, out: Path | None, device: str
) -> None:
    """Print where a recipe's iteration spends its time, and how near that is to this machine's best. No run is kept.

    Networks that other recipes train are measured with untrained weights, which take the same time.
    """
    checked = _read(recipe, overlays, assignments)
    target = _device(device)
    from gancore.parallel.distributed import one_process

    one_process("gancore profile")
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise GancoreError(
            f"--out {out} can't be written: {'it' if out.is_dir() else out.parent} is "
            f"{'a folder' if out.is_dir() else 'no folder'}; name a file in a folder that exists."
        )
    import json

    from gancore_profile.compiling import compile_networks
    from gancore_profile.profile_text import as_table, as_text
    from gancore_profile.profiling import profile

    from gancore.engine import Run
    from gancore.files import write_text
    from gancore.plan import make_plan

    run = Run(make_plan(checked, _registry()), target)
    if checked.run.compile:
        click.echo(f"torch.compile is {compile_networks(run)}")
    measured = profile(run, iterations)
    click.echo(as_text(measured))
    if out is not None:
        try:
            write_text(out, json.dumps(as_table(measured), indent=2) + "\n")
        except OSError as error:
            raise GancoreError(f"--out {out} can't be written: {error.strerror}; choose another file.") from error
        click.echo(f"The numbers are in {out}")


@main.command("new-plugin")
@click.argument("name")
@click.option("--to", "folder", type=click.Path(path_type=Path), help="Where to write it.  [default: gancore-plugin-NAME]")
@reports_errors
def new_plugin(name: str, folder: Path | None) -> None:
    """Write a working plugin package with a test, to start from."""
    from gancore.cli.scaffold import write_plugin

    path = write_plugin(name, folder or Path(f"gancore-plugin-{name}"))
    click.echo(f"The plugin is in {path}. To try it: pip install -e {path} && pytest {path}")


@main.command()
@reports_errors
def doctor() -> None:
    """Print versions, device, bfloat16 support, data found, and problems of plugins."""
    from gancore.cli.doctor import examine

    lines, healthy = examine(_registry())
    click.echo("\n".join(lines))
    if not healthy:
        sys.exit(1)
