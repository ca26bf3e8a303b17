"""Does a paper's effect show at a size that two cores bear?

    python -m benchmarks.effects PAPER [--seeds 3] [--jobs 2]

`benchmarks/effects/PAPER.toml` says what is trained and what is printed: its ``title`` and ``protocol`` in words, the
``scores`` that are the columns, and ``rows``, each of a ``recipe``, what is layered over it (``with``) and what is set
(``set``). Each row is trained once a seed, in a process of one thread; finished runs are not repeated. Where no run of a row
has a column, a dash stands there; where some have, their mean and how many they are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.runs import Job, lines, seconds, train_all
from benchmarks.tables import markdown, mean_and_deviation, write_json

FOLDER = Path(__file__).parent
PAPERS = sorted(path.stem for path in FOLDER.glob("*.toml"))


def jobs_of(rows: Mapping[str, Mapping[str, Any]], seeds: int, out: Path) -> dict[str, list[Job]]:
    """Return the runs of each row, one a seed."""
    return {
        name: [
            Job(out / f"{number}-{seed}", row["recipe"], row.get("with", ()), [*row.get("set", ()), f"run.seed={seed}"])
            for seed in range(seeds)
        ]
        for number, (name, row) in enumerate(rows.items())
    }


def score(job: Job, name: str) -> float | None:
    """Return the last value of a score that a run has, or None."""
    scored = [line["scores"][name] for line in lines(job.folder / "scores.jsonl") if name in line["scores"]]
    return float(scored[-1]) if scored else None


def cell(values: Sequence[float | None]) -> str:
    """Return what a table shows of the values of a row's runs, of which some may have none."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    return mean_and_deviation(known) + (f" ({len(known)} of {len(values)})" if len(known) < len(values) else "")


@click.command()
@click.argument("paper", type=click.Choice(PAPERS))
@click.option("--seeds", default=3, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--row", "only", multiple=True, metavar="NAME", help="Some rows alone.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/effects"), show_default=True)
def main(paper: str, seeds: int, jobs: int, only: tuple[str, ...], out: Path) -> None:
    """Train what a paper's table compares, and print it."""
    table = tomllib.loads((FOLDER / f"{paper}.toml").read_text())
    todo = {name: runs for name, runs in jobs_of(table["rows"], seeds, out / paper).items() if not only or name in only}
    train_all([runs[seed] for seed in range(seeds) for runs in todo.values()], jobs)
    scores = {name: {column: [score(job, column) for job in runs] for column in table["scores"]} for name, runs in todo.items()}
    shown = [
        [
            name,
            mean_and_deviation([seconds(job.folder) for job in runs], 0),
            *map(cell, scores[name].values()),
        ]
        for name, runs in todo.items()
    ]
    print(f"\n{table['title']}, {seeds} seeds. {table['protocol']}\n")
    print(markdown(["method", "seconds", *table["scores"]], shown))
    write_json(out / f"{paper}.json", scores)
