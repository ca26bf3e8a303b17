"""How good are the samples after a given time? SN-GAN, RobGAN, Fast-RobGAN and its ablations, over wall-clock time.

    GANCORE_DATA=DIR python -m benchmarks.adversarial_quality mnist [--seconds 60] [--seeds 3] [--set data.image_size=16]

Runs ``fastrobgan/<set>-small`` and its relatives, one process and one thread each, `--jobs` at a time. Every method gets the
same training time: its iterations are what the processor's time of an iteration, measured first, makes of `--seconds`; its
learning rate anneals over a third of them, and the generator's moving average spans a twentieth. The Frechet distance and
the inception-like score are in the features of a small classifier (``<set>-small-annotator``) against the test set. Writes a
table and the curves (`<set>-curves.html`). Finished runs are not repeated.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import click
import torch
from gancore_report.charts import badge, line_chart
from gancore_report.curves import Curve
from gancore_report.rendering import stylesheet
from gancore_training import build

from benchmarks.runs import Job, lines, train_all
from benchmarks.tables import markdown, mean_and_deviation, write_json
from gancore.files import write_text
from gancore.recipe import read
from gancore.registry import registry

METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "SN-GAN, projection": ("-sngan", ()),
    "RobGAN": ("-robgan", ()),
    "Fast-RobGAN": ("", ()),
    "no perturbation": ("", ("fastrobgan/no-attack",)),
    "no anneal": ("", ("fastrobgan/no-anneal",)),
    "no KL to uniform": ("", ("fastrobgan/no-uniform",)),
    "RobGAN's loss": ("", ("fastrobgan/robgan-loss",)),
}
SCORES = {"fid/fid": ("Frechet distance", 2), "inception_score/inception_score": ("inception-like score", 2)}
CPU = torch.device("cpu")
ROUNDS, STEPS = 5, 4
EVALUATIONS = 8


@click.command()
@click.argument("sets", nargs=-1, required=True)
@click.option("--seconds", "budget", default=60.0, show_default=True, help="Training time of each run.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--set", "assignments", multiple=True, help="Further settings, for all methods, e.g. data.image_size=16.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/adversarial_quality"), show_default=True)
def main(sets: tuple[str, ...], budget: float, seeds: int, jobs: int, assignments: tuple[str, ...], out: Path) -> None:
    """Train, score, and print a table."""
    results = {}
    for name in sets:
        costs = _costs(name, assignments)
        iterations = {m: max(1, round(budget / costs[s] / EVALUATIONS)) * EVALUATIONS for m, (s, _) in METHODS.items()}
        train_all([_job(name, m, iterations[m], seed, assignments, out) for seed in range(seeds) for m in METHODS], jobs)
        folders = {m: [_job(name, m, iterations[m], seed, assignments, out).folder for seed in range(seeds)] for m in METHODS}
        results[name] = {m: [_curve(folder, costs[METHODS[m][0]]) for folder in folders[m]] for m in METHODS}
        print(f"\n{name}, {seeds} seeds, {budget:g} s each\n")
        print(_table(results[name], iterations))
        write_text(out / f"{name}-curves.html", _page(name, results[name]))
        print(f"curves: {out / f'{name}-curves.html'}")
    write_json(out / "adversarial_quality.json", results)


def _costs(name: str, assignments: Sequence[str]) -> dict[str, float]:
    """Return the processor's seconds of an iteration of each recipe, on one thread: medians of rounds in which they take turns.

    The ablations cost the same as the method, so one measurement serves them all. Other work on the machine does not count.
    """
    torch.set_num_threads(1)
    found = registry()
    suffixes = list(dict.fromkeys(suffix for suffix, _ in METHODS.values()))
    runs = {s: build(read(f"fastrobgan/{name}-small{s}", found, assignments=assignments), found, CPU) for s in suffixes}
    spent: dict[str, list[float]] = {suffix: [] for suffix in suffixes}
    for _ in range(ROUNDS + 1):
        for suffix, run in runs.items():
            started = time.process_time()
            for _ in range(STEPS):
                run.step()
            spent[suffix].append((time.process_time() - started) / STEPS)
    # The first round warms up.
    return {suffix: statistics.median(values[1:]) for suffix, values in spent.items()}


def _job(name: str, method: str, iterations: int, seed: int, assignments: Sequence[str], out: Path) -> Job:
    suffix, overlays = METHODS[method]
    every = iterations // EVALUATIONS
    settings = [f"run.seed={seed}", f"run.iterations={iterations}", f"run.evaluate_every={every}"]
    settings += [f"run.log_every={max(1, every // 10)}", "run.checkpoint_every=0", "run.sample_every=0"]
    # The moving average spans a twentieth of each method's iterations, so that none is scored with less of it.
    settings += [f"ema.start={iterations // 20}", f"ema.decay={1 - 20 / max(iterations, 40):.5f}"]
    if not suffix and "fastrobgan/no-anneal" not in overlays:
        settings += [f"optimizers.{player}.schedule.period={iterations / 3}" for player in ("generator", "discriminator")]
    settings += assignments
    return Job(out / f"{name}-{method.replace(' ', '-')}-{seed}", f"fastrobgan/{name}-small{suffix}", overlays, settings)


def _curve(folder: Path, cost: float) -> list[dict[str, float]]:
    """Return seconds of training, at the cost of an iteration, and scores at each evaluation."""
    scores = lines(folder / "scores.jsonl")
    return [{"seconds": cost * entry["iteration"], **{key: entry["scores"][key] for key in SCORES}} for entry in scores]


def _table(found: dict[str, list[list[dict[str, float]]]], iterations: dict[str, int]) -> str:
    header = ["method", "iterations", "seconds"]
    header += [f"{title} {when}" for title, _ in SCORES.values() for when in ("at half time", "at the end")]
    rows = []
    for method, curves in found.items():
        cells = [str(iterations[method]), f"{curves[0][-1]['seconds']:.0f}"]
        for key, (_, digits) in SCORES.items():
            half = [curve[len(curve) // 2 - 1][key] for curve in curves]
            cells += [mean_and_deviation(half, digits), mean_and_deviation([curve[-1][key] for curve in curves], digits)]
        rows.append([method, *cells])
    return markdown(header, rows)


def _page(name: str, found: dict[str, list[list[dict[str, float]]]]) -> str:
    """Return the curves of the means over seeds as one HTML page."""
    charts = ["".join(f"<p>{badge(place)} {method}</p>" for place, method in enumerate(found))]
    longest = max(curve[-1]["seconds"] for runs in found.values() for curve in runs)
    for key, (title, _) in SCORES.items():
        curves = []
        for place, (method, runs) in enumerate(found.items()):
            points = [
                (statistics.mean(run[k]["seconds"] for run in runs), statistics.mean(run[k][key] for run in runs))
                for k in range(min(map(len, runs)))
            ]
            curves.append(Curve(place, method, points))
        charts.append(line_chart(f"{name}: {title}", curves, longest, log=True, over="seconds of training"))
    return f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><style>{stylesheet()}</style>{"".join(charts)}</html>\n'


if __name__ == "__main__":
    main()
