"""Is a fine-tuned discriminator more robust than Madry's training of the same classifier?

    GANCORE_DATA=DIR python -m benchmarks.robust_accuracy mnist [--iterations 1000] [--gan-iterations 600] [--seeds 3]

``fastrobgan/<set>-small-fine-tune`` starts from the discriminator of ``<set>-small-robgan`` and learns on real and generated
images; ``<set>-small-madry`` trains the same classifier from scratch on real images, and attacks as many batches as RobGAN and
its fine-tuning together. A second row trains it for the attacked batches of the fine-tuning alone, as if the discriminator came
for nothing; a third fine-tunes on real images alone, with as many attacked batches as fine-tuning on both, which tells the
generated images' part from the start's. The seconds are those of training, the GAN's included. The attack of
the evaluation is PGD of 20 steps with a random start, on `--samples` test images.
"""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.runs import Job, attack, seconds, train_all
from benchmarks.tables import markdown, mean_and_deviation, write_json

EPSILONS = ("0", "0.02", "0.04", "0.08", "0.2")
MADRY = "Madry's training, from scratch"
SHORT = "Madry's training, as long as fine-tuning"
REAL = "fine-tuned, real images alone"
BOTH = "fine-tuned, real and generated (RobGAN)"


@click.command()
@click.argument("sets", nargs=-1, required=True)
@click.option("--iterations", default=1000, show_default=True, help="Of fine-tuning.")
@click.option("--per-class", default=0, show_default=True, help="Training images per class of the classifier; 0 for all.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--samples", default=2000, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--epsilon", "trained", default=0.2, show_default=True, help="Of the attack in training.")
@click.option("--epsilons", default=",".join(EPSILONS), show_default=True, help="Of the attack in evaluation.")
@click.option("--gan-iterations", default=600, show_default=True, help="Of RobGAN.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change every recipe, as in gancore train.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/robust_accuracy"), show_default=True)
def main(
    sets: tuple[str, ...],
    iterations: int,
    per_class: int,
    seeds: int,
    samples: int,
    jobs: int,
    trained: float,
    epsilons: str,
    gan_iterations: int,
    settings: tuple[str, ...],
    out: Path,
) -> None:
    """Train, attack, and print a table."""
    results = {}
    for name in sets:
        common = [*settings, *(["samplers.few.use=standard/per-class", f"samplers.few.count={per_class}"] if per_class else [])]
        gans = [_gan(name, seed, gan_iterations, common, out) for seed in range(seeds)]
        train_all(gans, jobs)
        # RobGAN attacks five batches an iteration, and fine-tuning on both kinds of images two.
        numbers = {MADRY: 2 * iterations + 5 * gan_iterations, SHORT: 2 * iterations, REAL: 2 * iterations, BOTH: iterations}
        found = {
            method: [_tuned(name, method, seed, number, trained, common, gans[seed].folder, out) for seed in range(seeds)]
            for method, number in numbers.items()
        }
        train_all([found[method][seed] for seed in range(seeds) for method in found], jobs)
        results[name] = {method: [attack(job.folder, epsilons, samples) for job in of] for method, of in found.items()}
        times = {
            method: [
                seconds(job.folder) + (0 if method in (MADRY, SHORT) else seconds(gans[seed].folder))
                for seed, job in enumerate(of)
            ]
            for method, of in found.items()
        }
        header = ["classifier", "seconds", *(f"epsilon {e}" for e in results[name][MADRY][0])]
        rows = [
            [
                method,
                mean_and_deviation(times[method], 0),
                *(mean_and_deviation([100 * run[e] for run in runs], 2) for e in runs[0]),
            ]
            for method, runs in results[name].items()
        ]
        gains = [
            [f"{tuned}, against {against}", "", *(_gain(results[name], against, tuned, e) for e in results[name][MADRY][0])]
            for against in (MADRY, SHORT)
            for tuned in (REAL, BOTH)
        ]
        print(f"\n{name}: accuracy in % under PGD, {seeds} seeds\n")
        print(markdown(header, [*rows, *gains]))
    write_json(out / "robust_accuracy.json", results)


def _gain(found: dict[str, list[dict[str, float]]], before: str, after: str, epsilon: str) -> str:
    pairs = zip(found[before], found[after], strict=True)
    return mean_and_deviation([100 * (b[epsilon] - a[epsilon]) for a, b in pairs], 2)


def _gan(name: str, seed: int, iterations: int, common: list[str], out: Path) -> Job:
    settings = [f"run.seed={seed}", f"run.iterations={iterations}", "run.evaluate_every=0", *common]
    return Job(out / f"{name}-gan-{seed}", f"fastrobgan/{name}-small-robgan", (), settings)


def _tuned(name: str, method: str, seed: int, iterations: int, epsilon: float, common: list[str], gan: Path, out: Path) -> Job:
    settings = [f"run.seed={seed}", f"run.iterations={iterations}", f"attacks.pgd.epsilon={epsilon}", *common]
    settings.append(f"attacks.pgd.step={epsilon * 2 / 5:g}")
    recipe = f"fastrobgan/{name}-small-{'madry' if method in (MADRY, SHORT) else 'fine-tune'}"
    if method not in (MADRY, SHORT):
        weights = gan.resolve() / "weights"
        for part, file in (("networks.discriminator", "discriminator"), ("heads.classes", "heads.classes")):
            settings.append(f"{part}.weights={weights / file}.safetensors")
        if method == BOTH:
            settings.append(f"networks.generator.weights={weights / 'generator.safetensors'}")
        else:
            settings += ["networks.generator=false", 'attacks.pgd.sides=["real"]']
    return Job(out / f"{name}-{method.replace(' ', '-')}-{seed}", recipe, (), settings)


if __name__ == "__main__":
    main()
