"""The commands that look at runs, and those that train several. Importing this module imports no torch."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gancore_training import assignments_option, device_option, path_type, recipe_argument, recipe_options

from gancore.tools import say
from gancore_report.executors import Executor, executor_of, executor_options

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
@executor_options
@device_option
def ablate(
    recipe: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    drops: tuple[str, ...],
    seeds: int,
    out: Path | None,
    retry: bool,
    device: str,
    **on: Any,
) -> None:
    """Train a recipe whole and without each of some parts, for several seeds, and print the table of scores.

    The adversarial loss is dropped only by name. Started several times with the same --out, on one host or on many, each takes
    runs that no other has. Ctrl-C saves; the same command goes on, and repeats no finished run. Where a run failed, the exit
    status is 1.
    """
    from gancore_training import Terminal, recipe_title, recipe_words

    from gancore.tools import choose_device, read, registry
    from gancore_report.ablation import ablate as run_ablation

    checked = read(recipe, registry(), overlays=overlays, assignments=assignments)
    out = out or Path("runs") / f"{recipe_title(recipe, overlays)}-ablation"
    options = [*(word for part in drops for word in ("--drop", part)), "--seeds", seeds, "--out", out]
    grid = _Grid(["ablate", *recipe_words(recipe, overlays, assignments, device), *options], out, executor_of(**on))
    target = choose_device("cpu" if grid.executor else device)
    with grid.told(_print):
        table = run_ablation(
            checked,
            registry(),
            out,
            drops=drops,
            seeds=seeds,
            device=target,
            progress=Terminal(),
            work=grid.work,
            retry=retry,
        )
    _print(table)
    click.echo(f"\nThe table is in {out / 'ablation.md'}, and its values by seed in {out / 'ablation.json'}")
    sys.exit(1 if any(remark.startswith("failed: ") for remark in table.remarks) else 0)


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
@executor_options
@device_option
def compose(
    recipe: str,
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    fragments: tuple[str, ...],
    score: str,
    seeds: int,
    out: Path | None,
    retry: bool,
    device: str,
    **on: Any,
) -> None:
    """Train a recipe with each fragment and with each pair of them, and write the table of what combines with what.

    A pair is trained, refused with a sentence, or broken; where one is broken, the exit status is 1. Started several times with
    the same --out, on one host or on many, each takes runs that no other has. Ctrl-C saves; the same command goes on, and
    repeats no finished run.
    """
    from gancore_training import Terminal, recipe_title, recipe_words

    from gancore.tools import choose_device, registry
    from gancore_report.compositions import compose as run_compositions

    out = out or Path("runs") / f"{recipe_title(recipe, overlays)}-compositions"
    options = [*(word for name in fragments for word in ("--fragment", name)), *(("--score", score) if score else ())]
    words = ["compose", *recipe_words(recipe, overlays, assignments, device), *options, "--seeds", seeds, "--out", out]
    grid = _Grid(words, out, executor_of(**on))
    with grid.told():
        table = run_compositions(
            recipe,
            registry(),
            out,
            overlays=overlays,
            assignments=assignments,
            fragments=fragments,
            score=score,
            seeds=seeds,
            device=choose_device("cpu" if grid.executor else device),
            progress=Terminal(),
            work=grid.work,
            retry=retry,
        )
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
@executor_options
@device_option
def reproduce(
    table: str | None,
    size: str,
    seeds: int | None,
    assignments: tuple[str, ...],
    out: Path | None,
    retry: bool,
    device: str,
    **on: Any,
) -> None:
    """Print a paper's table with ours beside it: TABLE, e.g. cbgan/table1. Without TABLE, list the tables.

    Ours are of the runs that are stored in the folder; with --seeds those that are missing are trained first. Started several
    times with the same --out, on one host or on many, each takes runs that no other has. Ctrl-C saves; the same command goes
    on, and repeats no finished run.
    """
    from gancore_training import Terminal, command_line, recipe_words

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
    words = ["reproduce", *recipe_words(table, (), assignments, device), "--size", size, "--out", out]
    grid = _Grid([*words, "--seeds", seeds or 1], out, executor_of(**on))
    with grid.told(lambda partial: click.echo(partial.text(_widest()))):
        reproduced = run_reproduction(
            wanted,
            registry(),
            out,
            seeds=seeds or 0,
            assignments=assignments,
            device=choose_device("cpu" if grid.executor else device),
            progress=Terminal(),
            work=grid.work,
            retry=retry,
        )
    click.echo(reproduced.text(_widest()))
    if reproduced.pending:
        click.echo(f"To train them: {command_line(*words, '--seeds', wanted.seeds)}")
    click.echo(f"\nThe table is in {out / 'table.md'}, and its values by seed in {out / 'table.json'}")


class _Grid:
    """A command that trains several runs.

    Args:
        words: What asks for the same again, but for where.
        out: Its folder.
        executor: Who trains; None for this process.
    """

    def __init__(self, words: Sequence[object], out: Path, executor: Executor | None) -> None:
        self.executor = executor
        self._words = words
        self._out = out
        self._goes_on = False

    @property
    def work(self) -> Callable[[Sequence[object]], None] | None:
        """What trains the runs that wait; None for this process."""
        return None if self.executor is None else self._execute

    @contextlib.contextmanager
    def told(self, show: Callable[[Any], None] | None = None) -> Iterator[None]:
        """Tell how far the runs are where they are not done, by `show` the table so far, and how to go on where they stop."""
        from gancore_training import Interrupted

        from gancore_report.states import Unfinished, summary

        try:
            yield
        except Unfinished as unfinished:
            say("\n".join(summary(unfinished.states)))
            if show is not None and unfinished.partial is not None:
                show(unfinished.partial)
            if not self._goes_on:
                raise
            say(f"They go on; how far they are: {self._again()}")
            sys.exit(0)
        except KeyboardInterrupt as stopped:
            if self.executor is None and not isinstance(stopped, Interrupted):
                raise
            if isinstance(stopped, Interrupted):
                click.echo(f"Stopped; the newest checkpoint is {stopped.saved}.")
            click.echo(f"Saved. To go on, the same command: {self._again()}")
            sys.exit(130)

    def _execute(self, pending: Sequence[object]) -> None:
        if self.executor is not None:
            self._goes_on = self.executor.run(self._words, self._out, len(pending))

    def _again(self) -> str:
        from gancore_training import command_line

        return command_line(*self._words, *(self.executor.words() if self.executor else ()))


def _print(table: ScoreTable) -> None:
    from gancore_report.tables import as_text

    click.echo(as_text(table, _widest()))


def _widest() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
