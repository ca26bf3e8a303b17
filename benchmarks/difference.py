"""Does a difference-seeking GAN make the difference? Ones and sevens without ones, a roll's boundary, unseen classes.

    GANCORE_DATA=DIR python -m benchmarks.difference mnist roll fashion --seeds 3

For each case, DSGAN's recipe and the plain GAN's on p_w (mnist, fashion) or on the data (roll), one process and one thread
each, `--jobs` at a time. Per case: the share of 10,000 samples that a classifier calls seven; the share of samples where the
data's density is below that of 95 % of the data; the area under the ROC curve of a detector that learns from the samples.
Finished runs are not repeated. A picture of the roll's runs: ``gancore field RUN``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.runs import Job, lines, seconds, train, train_all
from benchmarks.tables import markdown, mean_and_deviation, write_json

Scores = dict[str, Any]
Case = tuple[dict[str, str], dict[str, Callable[[Scores], float]]]

CASES: dict[str, Case] = {
    "mnist": (
        {"DSGAN, {1, 7} - {1}": "dsgan/mnist-17-minus-1", "plain GAN on {1, 7}": "dsgan/mnist-17"},
        {
            "sevens, %": lambda scores: 100 * scores["classes/histogram"][7],
            "ones, %": lambda scores: 100 * scores["classes/histogram"][1],
        },
    ),
    "roll": (
        {"DSGAN, the data with noise - the data": "dsgan/swiss-roll", "plain GAN on the data": "dsgan/swiss-roll-plain"},
        {
            "where data are rare, %": lambda scores: 100 * scores["density/outside"],
            "distance to the nearest point": lambda scores: scores["density/mean_distance"],
        },
    ),
    "disc": (
        {"DSGAN, the data with noise - the data": "dsgan/disc"},
        {"where data are rare, %": lambda scores: 100 * scores["density/outside"]},
    ),
    "fashion": (
        {
            "DSGAN, all classes - eight": "dsgan/fashion-unseen",
            "DSGAN, eight classes with noise - eight": "dsgan/fashion-boundary",
            "plain GAN on all classes": "dsgan/fashion-all",
        },
        {
            "AUROC, seen against unseen": lambda scores: scores["novelty/auroc"],
            "samples of unseen classes, %": lambda scores: 100 * sum(scores["classes/histogram"][8:]),
        },
    ),
}


@click.command()
@click.argument("cases", nargs=-1, required=True, type=click.Choice(list(CASES)))
@click.option("--seeds", default=3, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/difference"), show_default=True)
def main(cases: tuple[str, ...], seeds: int, jobs: int, out: Path) -> None:
    """Train, score, and print a table."""
    results = {}
    for case in cases:
        methods, scores = CASES[case]
        todo = {method: [_job(recipe, seed, out) for seed in range(seeds)] for method, recipe in methods.items()}
        # The first run trains the annotator; the others then find it.
        train(next(iter(todo.values()))[0])
        train_all([todo[method][seed] for seed in range(seeds) for method in todo], jobs)
        found = {method: [lines(job.folder / "scores.jsonl")[-1] for job in jobs] for method, jobs in todo.items()}
        results[case] = found
        rows = [
            [
                method,
                str(runs[0]["iteration"]),
                mean_and_deviation([seconds(job.folder) for job in todo[method]], 0),
                *(mean_and_deviation([read(run["scores"]) for run in runs], 3) for read in scores.values()),
            ]
            for method, runs in found.items()
        ]
        print(f"\n{case}, {seeds} seeds\n")
        print(markdown(["method", "iterations", "seconds", *scores], rows))
    write_json(out / "difference.json", results)


def _job(recipe: str, seed: int, out: Path) -> Job:
    return Job(out / f"{recipe.replace('/', '-')}-{seed}", recipe, (), [f"run.seed={seed}"])


if __name__ == "__main__":
    main()
