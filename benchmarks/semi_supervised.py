"""How many of MNIST's 10,000 test images does a classifier get wrong that learned from 100 labels?

    GANCORE_DATA=DIR python -m benchmarks.semi_supervised [--iterations 6000] [--points 4] [--seeds 3]

DSGAN with the mixture trick and with Eq. 2's weights, a generator by feature matching, and the labels alone; the same
classifier, one process and one thread each, `--jobs` at a time. Each seed has labels of its own. The paper trains for 600,000
iterations; here the learning rates fall over the last third of `--iterations`. A second table has each method's errors at
`--points` points of its training, and what Eq. 7 asks for: the share of generated images whose largest logit is below 0, and
that of real ones whose largest is above. Finished runs are not repeated.
"""

from __future__ import annotations

import math
from pathlib import Path

import click

from benchmarks.runs import Job, lines, seconds, train_all
from benchmarks.tables import markdown, mean_and_deviation, write_json

METHODS = {
    "DSGAN, mixture (appendix C)": "dsgan/mnist-semi-small",
    "DSGAN, weights (Eq. 2)": "dsgan/mnist-semi-small-weighted",
    "feature matching": "dsgan/mnist-semi-small-matching",
    "100 labels alone": "dsgan/mnist-100-labels",
}
ALONE = "dsgan/mnist-100-labels"
IMAGES = 10_000


@click.command()
@click.option("--iterations", default=6000, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--points", default=4, show_default=True, help="Scores of each run, evenly over its iterations.")
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--method", "only", multiple=True, type=click.Choice(list(METHODS)), help="Some methods alone.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change every recipe, as in gancore train.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/semi_supervised"), show_default=True)
def main(
    iterations: int, seeds: int, points: int, jobs: int, only: tuple[str, ...], settings: tuple[str, ...], out: Path
) -> None:
    """Train, score, and print a table."""
    methods = {method: recipe for method, recipe in METHODS.items() if not only or method in only}
    todo = {
        method: [_job(recipe, seed, iterations, points, settings, out) for seed in range(seeds)]
        for method, recipe in methods.items()
    }
    train_all([todo[method][seed] for seed in range(seeds) for method in todo], jobs)
    errors = {method: [_errors(job.folder) for job in jobs] for method, jobs in todo.items()}
    rows = [
        [
            method,
            str(lines(todo[method][0].folder / "scores.jsonl")[-1]["iteration"]),
            mean_and_deviation([seconds(job.folder) for job in todo[method]], 0),
            mean_and_deviation(found, 1),
            ", ".join(f"{errors:.0f}" for errors in found),
        ]
        for method, found in errors.items()
    ]
    print(f"\nMNIST, 100 labels, {seeds} seeds\n")
    print(markdown(["method", "iterations", "seconds", "test errors of 10,000", "each"], rows))
    print(f"\nThe curve, and the shares of Eq. 7, {seeds} seeds\n")
    print(markdown(["method", "iteration", *COLUMNS], [row for method, of in todo.items() for row in _curve(method, of)]))
    write_json(out / "semi_supervised.json", errors)


COLUMNS = ("test errors of 10,000", "generated, largest logit below 0", "real, largest logit above 0")


def _curve(method: str, jobs: list[Job]) -> list[list[str]]:
    """Return a row for each point of a method's training."""
    by_seed = [lines(job.folder / "scores.jsonl") for job in jobs]
    return [
        [
            method,
            str(scored[0]["iteration"]),
            mean_and_deviation([IMAGES * (1 - of["scores"]["accuracy/accuracy"]) for of in scored], 0),
            *(
                mean_and_deviation([of["scores"].get(f"complement/{name}", math.nan) for of in scored])
                for name in ("generated_below", "real_above")
            ),
        ]
        for scored in zip(*by_seed, strict=True)
    ]


def _job(recipe: str, seed: int, iterations: int, points: int, common: tuple[str, ...], out: Path) -> Job:
    settings = [*common, f"run.seed={seed}"]
    if recipe != ALONE:
        players = ["generator", "classifier"] if recipe.endswith("matching") else ["generator", "discriminator", "classifier"]
        settings += [f"run.iterations={iterations}", f"run.evaluate_every={iterations // points}", "run.sample_every=0"]
        settings.append("metrics.complement.use=dsgan/complement")
        settings += [f"optimizers.{player}.schedule.start={iterations * 2 // 3}" for player in players]
    return Job(out / f"{recipe.split('/')[1]}-{seed}", recipe, (), settings)


def _errors(folder: Path) -> float:
    accuracy: float = lines(folder / "scores.jsonl")[-1]["scores"]["accuracy/accuracy"]
    return round(IMAGES * (1 - accuracy), 6)


if __name__ == "__main__":
    main()
