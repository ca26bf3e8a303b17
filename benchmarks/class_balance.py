"""Does the regularizer balance the classes? Baseline against CBGAN on long-tailed data, same budget, several seeds.

    GANCORE_DATA=DIR python -m benchmarks.class_balance mnist fashion --seeds 3

Runs ``cbgan/<set>-lt-baseline`` and ``cbgan/<set>-lt``, one process and one thread each, `--jobs` at a time, and then
prints per data set the KL divergence of the class histogram to uniform, the classification accuracy score (CAS), and the
Frechet distance in the annotator's features against the balanced test set, as mean and deviation over seeds. Finished
runs are not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from benchmarks.runs import Job, lines, seconds, train, train_all
from benchmarks.tables import markdown, mean_and_deviation, write_json
from gancore.files import cache_root

METHODS = {"baseline": "cbgan/{}-lt-baseline", "CBGAN": "cbgan/{}-lt"}
SCORES = {"classes/kl": ("KL to uniform", 4), "cas/cas": ("CAS", 4), "fid/fid": ("Frechet distance", 2)}


@click.command()
@click.argument("sets", nargs=-1, required=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--set", "assignments", multiple=True, help="Further settings, for both methods.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/class_balance"), show_default=True)
def main(sets: tuple[str, ...], seeds: int, jobs: int, assignments: tuple[str, ...], out: Path) -> None:
    """Train, score, and print a table."""
    # The first run of each set trains the classifiers; the others then find them.
    for name in sets:
        short = (*assignments, "run.iterations=1", "evaluation.samples=250")
        train(_job(name, "CBGAN", 0, short, out / "classifiers" / name))
    todo = [(name, method, seed) for name in sets for seed in range(seeds) for method in METHODS]
    train_all([_job(*key, assignments, _folder(out, *key)) for key in todo], jobs)
    results = {name: {m: [_scores(_folder(out, name, m, s)) for s in range(seeds)] for m in METHODS} for name in sets}
    for name in sets:
        print(f"\n{name}, {seeds} seeds\n")
        print(_table(results[name]))
    print("\nclassifiers\n")
    for line in _classifiers(sets):
        print(line)
    write_json(out / "class_balance.json", results)


def _folder(out: Path, name: str, method: str, seed: int) -> Path:
    return out / f"{name}-{method}-{seed}"


def _job(name: str, method: str, seed: int, assignments: Iterable[str], folder: Path) -> Job:
    settings = (f"run.seed={seed}", "run.evaluate_every=0", *assignments)
    return Job(folder, METHODS[method].format(name), (f"cbgan/{name}-lt-cas",), settings)


def _scores(folder: Path) -> dict[str, Any]:
    last = lines(folder / "scores.jsonl")[-1]
    ids = {metric: protocol["id"] for metric, protocol in last["protocols"].items()}
    return {"iteration": last["iteration"], "seconds": seconds(folder), "protocols": ids, **last["scores"]}


def _table(methods: dict[str, list[dict[str, Any]]]) -> str:
    protocols = {json.dumps(run["protocols"], sort_keys=True) for runs in methods.values() for run in runs}
    if len(protocols) > 1:
        raise SystemExit("the runs were scored by different protocols, so they can't share a table; delete the older ones.")
    header = ["method", *(title for title, _ in SCORES.values()), "iterations", "seconds"]
    rows = []
    for method, runs in methods.items():
        cells = [mean_and_deviation([run[score] for run in runs], digits) for score, (_, digits) in SCORES.items()]
        rows.append([method, *cells, str(runs[0]["iteration"]), mean_and_deviation([run["seconds"] for run in runs], 0)])
    return markdown(header, rows)


def _classifiers(sets: Iterable[str]) -> Iterable[str]:
    for name in sets:
        for kind in ("annotator", "classifier"):
            for folder in sorted((cache_root() / "trained").glob(f"cbgan-{name}-{kind}-*")):
                if (folder / "scores.jsonl").exists():
                    scores = lines(folder / "scores.jsonl")[-1]["scores"]
                    yield f"{folder.name}: accuracy on the balanced test set {scores['accuracy/accuracy']:.4f}"


if __name__ == "__main__":
    main()
