"""The commands that look at runs, and those that train several. Importing this module imports no torch."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from gancore_training import assignments_option, device_option, path_type, recipe_argument, recipe_options

if TYPE_CHECKING:
    from gancore_report.scores import ScoreTable


@click.command()
@recipe_argument
@recipe_options
@click.option(
    "--drop",
    "drops",
    metavar="PART",
    multiple=True,
    help="Part to do without, e.g. losses.balance; may be repeated.  [default: each loss term, attack and sampler]",
)
@click.option("--seeds", type=int, default=3, show_default=True, help="Runs of each variant, from the recipe's seed on.")
@click.option("--out", type=path_type, help="Folder of the runs.  [default: runs/RECIPE-ablation]")
@device_option
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
    from gancore_training import Interrupted, Terminal, command_line, recipe_title, recipe_words

    from gancore.tools import choose_device, read, registry
    from gancore_report.ablation import ablate as run_ablation

    checked = read(recipe, registry(), overlays=overlays, assignments=assignments)
    target = choose_device(device)
    out = out or Path("runs") / f"{recipe_title(recipe, overlays)}-ablation"
    try:
        table = run_ablation(checked, registry(), out, drops=drops, seeds=seeds, device=target, progress=Terminal())
    except Interrupted as stopped:
        click.echo(f"Stopped; the newest checkpoint is {stopped.saved}.")
        options = [*(word for part in drops for word in ("--drop", part)), "--seeds", seeds, "--out", out]
        again = command_line("ablate", *recipe_words(recipe, overlays, assignments, device), *options)
        click.echo(f"Saved. To go on, the same command: {again}")
        sys.exit(130)
    _print(table)
    click.echo(f"\nThe table is in {out / 'ablation.md'}, and its values by seed in {out / 'ablation.json'}")


@click.command()
@recipe_argument
@recipe_options
@click.option(
    "--fragment",
    "fragments",
    metavar="RECIPE",
    multiple=True,
    help="Fragment to combine; may be repeated.  [default: every installed one that changes a training]",
)
@click.option("--score", metavar="NAME", default="", help="Score to show, e.g. fid/fid.  [default: the first]")
@click.option("--seeds", type=int, default=3, show_default=True, help="Runs of each, from the recipe's seed on.")
@click.option("--out", type=path_type, help="Folder of the runs.  [default: runs/RECIPE-compositions]")
@device_option
def compose(
    recipe: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    fragments: tuple[str, ...],
    score: str,
    seeds: int,
    out: Path | None,
    device: str,
) -> None:
    """Train a recipe with each fragment and with each pair of them, and write the table of what combines with what.

    A pair is trained, refused with a sentence, or broken; where one is broken, the exit status is 1. Started several times with
    the same --out, each takes runs that no other has. Ctrl-C saves; the same command goes on, and repeats no finished run.
    """
    from gancore_training import Interrupted, Terminal, command_line, recipe_title, recipe_words

    from gancore.tools import choose_device, registry
    from gancore_report.compositions import compose as run_compositions

    out = out or Path("runs") / f"{recipe_title(recipe, overlays)}-compositions"
    try:
        table = run_compositions(
            recipe,
            registry(),
            out,
            overlays=overlays,
            assignments=assignments,
            fragments=fragments,
            score=score,
            seeds=seeds,
            device=choose_device(device),
            progress=Terminal(),
        )
    except Interrupted as stopped:
        click.echo(f"Stopped; the newest checkpoint is {stopped.saved}.")
        options = [*(word for name in fragments for word in ("--fragment", name)), *(("--score", score) if score else ())]
        again = command_line(
            "compose", *recipe_words(recipe, overlays, assignments, device), *options, "--seeds", seeds, "--out", out
        )
        click.echo(f"Saved. To go on, the same command: {again}")
        sys.exit(130)
    counts = ", ".join(f"{table.number(outcome)} {outcome}" for outcome in ("trained", "refused", "broken"))
    click.echo(f"Of the pairs: {counts}. The table is in {out / 'compositions.md'}")
    sys.exit(1 if table.broken else 0)


@click.command()
@click.argument("runs", metavar="RUN...", type=path_type, nargs=-1, required=True)
@click.option("--metric", "metrics", metavar="NAME", multiple=True, help="Only these scores: fid, or fid/fid; may be repeated.")
@click.option(
    "--at",
    metavar="WHEN",
    default="last",
    show_default=True,
    help="Evaluation of each run: last, an iteration, or best:SCORE, e.g. best:fid/fid.",
)
@click.option("--each", is_flag=True, help="One row per run; do not average runs that differ only in their seed.")
@click.option("--out", type=path_type, help="Write the table there too: a name in .md, .csv or .json.")
def compare(runs: tuple[Path, ...], metrics: tuple[str, ...], at: str, each: bool, out: Path | None) -> None:
    """Print the scores of runs side by side; what was scored by different protocols never shares a column.

    A folder that holds runs stands for all of them. Runs that differ only in their seed share a row, as mean ± sample
    deviation. Nothing is scored or trained.
    """
    from gancore_report.comparison import compare as compare_runs
    from gancore_report.comparison import write

    compared = compare_runs(runs, metrics=metrics, at=at, each=each)
    if out is not None:
        write(compared, out)
    _print(compared)
    if out is not None:
        click.echo(f"\nThe table is in {out}")


@click.command()
@click.argument("runs", type=path_type, nargs=-1, required=True)
@click.option("--out", type=path_type, help="HTML file to write.  [default: beside the runs]")
def report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Write one self-contained HTML page: samples, curves, class histograms, runs side by side.

    A folder that holds runs stands for all of them. By default the page lies beside the runs: RUN-report.html for one,
    report.html in the folder that holds several.
    """
    from gancore_report.comparison import runs_in
    from gancore_report.page import write_report
    from gancore_report.paths import beside

    several = [run for path in runs for run in runs_in(path)]
    click.echo(f"The report is {write_report(several, out or beside(several))}")


@click.command()
@click.argument("table", required=False)
@click.option(
    "--size",
    type=click.Choice(["small", "paper"]),
    default="small",
    show_default=True,
    help="Sized for two cores, or as the paper trains.",
)
@click.option("--seeds", type=click.IntRange(1, 1000), help="Train what is missing, so that each row has as many runs.")
@assignments_option
@click.option("--out", type=path_type, help="Folder of the runs.  [default: runs/TABLE-SIZE]")
@device_option
def reproduce(
    table: str | None, size: str, seeds: int | None, assignments: tuple[str, ...], out: Path | None, device: str
) -> None:
    """Print a paper's table with ours beside it: TABLE, e.g. cbgan/table1. Without TABLE, list the tables.

    Ours are of the runs that are stored in the folder; with --seeds those that are missing are trained first. Ctrl-C saves;
    the same command goes on, and repeats no finished run.
    """
    from gancore_training import Interrupted, Terminal, command_line, recipe_words

    from gancore.tools import choose_device, registry
    from gancore_report.paper_tables import read_table, table_files, titles
    from gancore_report.reproduction import reproduce as run_reproduction

    if table is None:
        from gancore_report.tables import wrapped

        for name, (where, title) in titles(table_files(registry())).items():
            click.echo(wrapped(f"{name}  ({where})", None))
            click.echo(wrapped(f"  {title}", shutil.get_terminal_size().columns))
        return
    wanted = read_table(table, size, registry())  # type: ignore[arg-type]
    out = out or Path("runs") / f"{table.replace('/', '-')}-{size}"
    words = [*recipe_words(table, (), assignments, device), "--size", size, "--out", out]
    try:
        reproduced = run_reproduction(
            wanted,
            registry(),
            out,
            seeds=seeds or 0,
            assignments=assignments,
            device=choose_device(device),
            progress=Terminal(),
        )
    except Interrupted as stopped:
        click.echo(f"Stopped; the newest checkpoint is {stopped.saved}.")
        click.echo(f"Saved. To go on, the same command: {command_line('reproduce', *words, '--seeds', seeds or 1)}")
        sys.exit(130)
    click.echo(reproduced.text(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    if reproduced.pending:
        click.echo(f"To train them: {command_line('reproduce', *words, '--seeds', wanted.seeds)}")
    click.echo(f"\nThe table is in {out / 'table.md'}, and its values by seed in {out / 'table.json'}")


def _print(table: ScoreTable) -> None:
    from gancore_report.tables import as_text

    click.echo(as_text(table, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
