"""Is a classifier more robust after fine-tuning on generated images of low density? (DSGAN, section 5.2, Fig. 7, 9, 10).

    GANCORE_DATA=DIR python -m benchmarks.low_density_robustness mnist-small [--weights 1,3,10]
    python -m benchmarks.low_density_robustness digits --seeds 3 --ranges 0.15 --weights 10 --bounded --samples 355 \
        --second-stage dsgan/digits-low-density-images --row noisy --row oracle --row dsgan

Baselines: the classifier trained further on clean images, and on images with uniform noise of several ranges. Ours: fine-tuned
on clean images and on generated ones (`dsgan/<set>-robust`), at several ranges and weights w of the entropy. The oracle: the
same with an ideal generator's images, other training images with the noise. `--second-stage` names another recipe of the
generator, for a row more; `--bounded` keeps images with noise in [-1, 1], where generated and attacked ones are. Each starts
from the same classifier, one a seed, and takes as many iterations. Attacks on the first `--samples` test images: FGSM and PGD
(20 steps, random start; on cross entropy, and on margins) in l_inf, DeepFool in l_2 and l_inf, each cut to the budget. Ranges
are the paper's, on the [-0.5, 0.5] scale; budgets are on the [-1, 1] scale. One process and one thread each, `--jobs` at a
time. Finished runs are not repeated. Writes a table and the curves (`<set>-curves.html`).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import attrs
import click
from gancore_report.charts import badge, line_chart
from gancore_report.curves import Curve
from gancore_report.rendering import stylesheet

from benchmarks.runs import Job, attack, seconds, train_all
from benchmarks.tables import markdown, mean_and_deviation, write_json
from gancore.files import write_text

ATTACKS = {
    "FGSM": (("--attack", "fastrobgan/fgsm"), "0,0.05,0.1,0.2,0.3"),
    "PGD": (("--attack", "fastrobgan/pgd", "--set", "steps=20"), "0,0.05,0.1,0.2,0.3"),
    "PGD on margins": (("--attack", "fastrobgan/margin-pgd", "--set", "steps=20"), "0,0.05,0.1,0.2,0.3"),
    "DeepFool l2": (("--attack", "fastrobgan/deepfool", "--set", "norm=l2"), "0,0.5,1,2,3"),
    "DeepFool linf": (("--attack", "fastrobgan/deepfool", "--set", "norm=linf"), "0,0.05,0.1,0.2,0.3"),
}


FURTHER = "further, clean images"


@attrs.frozen
class Method:
    """A row: a recipe of the third stage.

    Attributes:
        place: Where its runs go, but for the seed.
        recipe: What is trained.
        settings: Of the third stage.
        second: Settings of the second stage; None where there is none.
    """

    place: Path
    recipe: str
    settings: Sequence[str] = ()
    second: Sequence[str] | None = None


@click.command()
@click.argument("name")
@click.option("--weights", default="1,3,10", show_default=True, help="The entropy's weights w.")
@click.option("--seeds", default=1, show_default=True)
@click.option("--ranges", default="0.01,0.03,0.05", show_default=True, help="The noise's ranges r.")
@click.option("--samples", default=500, show_default=True)
@click.option("--deepfool-samples", default=100, show_default=True, help="Of DeepFool, which is slow.")
@click.option("--attack", "attacks", multiple=True, type=click.Choice(list(ATTACKS)), help="Some attacks alone.")
@click.option("--second-stage", "other", multiple=True, metavar="RECIPE", help="A generator of another recipe, as a row more.")
@click.option("--row", "chosen", multiple=True, metavar="START", help="Some rows alone, by what their names start with.")
@click.option("--bounded", is_flag=True, help="Keep images with noise in [-1, 1].")
@click.option("--jobs", default=2, show_default=True, help="Runs at a time, one thread each.")
@click.option("--set", "assignments", multiple=True, help="Further settings of the third stage.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/low_density_robustness"), show_default=True)
def main(
    name: str,
    weights: str,
    seeds: int,
    ranges: str,
    samples: int,
    deepfool_samples: int,
    attacks: tuple[str, ...],
    other: tuple[str, ...],
    chosen: tuple[str, ...],
    bounded: bool,
    jobs: int,
    assignments: tuple[str, ...],
    out: Path,
) -> None:
    """Train, attack, and print a table."""
    methods = _jobs(name, ranges.split(","), weights.split(","), other, out, bounded=bounded)
    if chosen:
        # The classifier trained further is what the others are compared with.
        methods = {method: job for method, job in methods.items() if method.startswith((FURTHER, *chosen))}
    todo = {method: [_seeded(job, seed, assignments) for seed in range(seeds)] for method, job in methods.items()}
    # It trains the classifier of the first stage; the others then find it.
    train_all(todo[FURTHER], jobs)
    train_all([todo[method][seed] for seed in range(seeds) for method in todo], jobs)
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for title in attacks or ATTACKS:
        options, epsilons = ATTACKS[title]
        images = deepfool_samples if title.startswith("DeepFool") else samples
        results[title] = {m: [attack(job.folder, epsilons, images, *options) for job in of] for m, of in todo.items()}
        header = ["classifier", "seconds", *next(iter(results[title].values()))[0]]
        rows = [
            [
                method,
                mean_and_deviation([seconds(job.folder) for job in todo[method]], 0),
                *(mean_and_deviation([100 * run[e] for run in runs], 1) for e in runs[0]),
            ]
            for method, runs in results[title].items()
        ]
        print(f"\n{name}, {title}: accuracy in % by budget, {images} images, {seeds} seeds\n")
        print(markdown(header, rows))
    write_text(out / f"{name}-curves.html", _page(results))
    write_json(out / f"{name}.json", results)


def _jobs(
    name: str, ranges: list[str], weights: list[str], other: tuple[str, ...], out: Path, *, bounded: bool
) -> dict[str, Method]:
    """Return each method's run, without its seed."""

    def noise(sampler: str, size: str) -> list[str]:
        # The paper's images are in [-0.5, 0.5], core's in [-1, 1].
        return [f"samplers.{sampler}.scale={2 * float(size)}", *([f"samplers.{sampler}.bounded=true"] if bounded else [])]

    jobs = {FURTHER: Method(out / f"{name}-further", f"dsgan/{name}-further")}
    for size in ranges:
        jobs[f"noisy images, r = {size}"] = Method(out / f"{name}-noisy-{size}", f"dsgan/{name}-noisy", noise("noise", size))
    for size, weight in product(ranges, weights):
        title, place = f"r = {size}, w = {weight}", f"{name}-{{}}-{size}-{weight}"
        settings = [f"losses.confidence.weight={weight}"]
        ideal = [*settings, *noise("ideal", size)]
        jobs[f"oracle, {title}"] = Method(out / place.format("oracle"), f"dsgan/{name}-oracle", ideal)
        second = noise("difference", size)
        robust = f"dsgan/{name}-robust"
        jobs[f"ours, {title}"] = Method(out / place.format("ours"), robust, settings, second)
        for recipe in other:
            trained = [*settings, f"networks.generator.trained_by={recipe}"]
            jobs[f"{recipe}, {title}"] = Method(out / place.format(recipe.replace("/", "-")), robust, trained, second)
    return jobs


def _seeded(method: Method, seed: int, assignments: tuple[str, ...]) -> Job:
    """Return a method's run of a seed, each of whose stages has that seed."""
    first = f'networks.classifier.trained_with=["run.seed={seed}"]'
    settings = [*method.settings, f"run.seed={seed}", first, *assignments]
    if method.second is not None:
        texts = ", ".join(f"'{text}'" for text in [*method.second, f"run.seed={seed}", first])
        settings.append(f"networks.generator.trained_with=[{texts}]")
    return Job(method.place.with_name(f"{method.place.name}-{seed}"), method.recipe, (), settings)


def _page(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Return the curves of the means over seeds as one HTML page."""
    methods = list(next(iter(results.values())))
    shown = [m for m in methods if not m.startswith("ours") or m.endswith(("w = 3", "w = 10"))]
    charts = ["".join(f"<p>{badge(place)} {method}</p>" for place, method in enumerate(shown))]
    for title, found in results.items():
        curves = []
        for place, method in enumerate(shown):
            runs = found[method]
            points = [(float(e), 100 * statistics.mean(run[e] for run in runs)) for e in runs[0]]
            curves.append(Curve(place, method, points))
        charts.append(line_chart(f"{title}: accuracy, %", curves, max(x for x, _ in curves[0].points), over="budget"))
    return f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><style>{stylesheet()}</style>{"".join(charts)}</html>\n'


if __name__ == "__main__":
    main()
