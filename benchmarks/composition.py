"""Two papers in one run: class balance and free adversarial training on long-tailed data, each alone, together, and neither.

    GANCORE_DATA=DIR python -m benchmarks.composition mnist [--iterations 2000] [--seeds 3]

The base is ``cbgan/<set>-lt-baseline`` with Fast-RobGAN's loss (so that D has a class head to attack) and no spectral norm;
over it lie the regularizer, as in ``cbgan/<set>-lt``, and ``fastrobgan/free``. Without the attack, D sees each batch as often
(replays stay), so that only the perturbation differs. Scores as in `benchmarks.class_balance`; robust accuracy is that of
D's class head on the balanced test set, under PGD of 20 steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.runs import PGD_20, Job, attack, lines, train_all
from benchmarks.tables import markdown, mean_and_deviation, write_json

METHODS = {"neither": (False, False), "class balance": (True, False), "free": (False, True), "both": (True, True)}
SCORES = {"classes/kl": ("KL to uniform", 4), "cas/cas": ("CAS", 4), "fid/fid": ("Frechet distance", 2)}
EPSILONS = ("0", "0.02", "0.04", "0.08")


@click.command()
@click.argument("sets", nargs=-1, required=True)
@click.option("--iterations", default=2000, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--epsilon", default=0.02, show_default=True, help="Of free adversarial training.")
@click.option("--samples", default=2000, show_default=True, help="Test images to attack.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/composition"), show_default=True)
def main(sets: tuple[str, ...], iterations: int, seeds: int, jobs: int, epsilon: float, samples: int, out: Path) -> None:
    """Train, score, attack, and print a table."""
    results = {}
    for name in sets:
        jobs_of = {m: [_job(name, m, seed, iterations, epsilon, out) for seed in range(seeds)] for m in METHODS}
        train_all([jobs_of[m][seed] for seed in range(seeds) for m in METHODS], jobs)
        found = {m: [_scores(job.folder, samples) for job in of] for m, of in jobs_of.items()}
        header = ["method", *(title for title, _ in SCORES.values()), *(f"accuracy at {e}" for e in EPSILONS)]
        rows = []
        for method, runs in found.items():
            cells = [mean_and_deviation([run[key] for run in runs], digits) for key, (_, digits) in SCORES.items()]
            cells += [mean_and_deviation([100 * run["accuracy"][e] for run in runs], 2) for e in EPSILONS]
            rows.append([method, *cells])
        print(f"\n{name}, {iterations} iterations, {seeds} seeds\n")
        print(markdown(header, rows))
        results[name] = found
    write_json(out / "composition.json", results)


def _job(name: str, method: str, seed: int, iterations: int, epsilon: float, out: Path) -> Job:
    balance, free = METHODS[method]
    settings = [f"run.seed={seed}", f"run.iterations={iterations}", "run.evaluate_every=0", "run.sample_every=0"]
    settings += ["networks.discriminator.spectral_norm=false", f"attacks.free.epsilon={epsilon if free else 0.0}"]
    overlays = [f"cbgan/{name}-lt-cas", "fastrobgan/loss", "fastrobgan/free"]
    recipe = f"cbgan/{name}-lt{'' if balance else '-baseline'}"
    return Job(out / f"{name}-{method.replace(' ', '-')}-{seed}", recipe, overlays, settings)


def _scores(folder: Path, samples: int) -> dict[str, Any]:
    accuracy = attack(folder, ",".join(EPSILONS), samples, *PGD_20, "--classifier", "classes")
    return {**lines(folder / "scores.jsonl")[-1]["scores"], "accuracy": accuracy}


if __name__ == "__main__":
    main()
