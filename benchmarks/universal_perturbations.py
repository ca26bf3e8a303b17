"""How well does a perturbation fool classifiers of CIFAR-10 that was crafted without an image of CIFAR-10?

    GANCORE_DATA=DIR python -m benchmarks.universal_perturbations WEIGHTS [--prior uap/fashion-prior] [--seeds 3]

WEIGHTS is a folder with ``cifar10_resnet20.safetensors``, ... ``resnet56``: public CIFAR-style ResNets that take the
normalization of ImageNet. The rows are CBGAN's Table 5: noise of the same budget, the arbitrary images as they are, the images
of a GAN with activation maximization (AM), the same with class balance (ours), and CIFAR-10's own training images, the upper
reference. One GAN, with the first victim in its loop, serves all victims. The score is the fooling rate on CIFAR-10's test
images, the first time that any of them are read. The last tables are transfer, with and without the Skip Gradient Method, and
the distinct classes of the proxy sets by cycle. Finished stages are not repeated.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from benchmarks.runs import gancore
from benchmarks.tables import markdown, mean_and_deviation, write_json

MEAN, STD = "[0.485, 0.456, 0.406]", "[0.229, 0.224, 0.225]"
NOISE = "noise of the same budget"
ARBITRARY = "arbitrary images"
ACTIVATION = "GAN + AM"
OURS = "GAN + AM + class balance (ours)"
TARGET = "CIFAR-10's training images"
SKIP = "ours, with the Skip Gradient Method"


class Experiment:
    """The stages of one set of settings, each a command with one thread.

    Args:
        out: Folder of the results.
        weights: Folder of the victims' weights.
        depths: The victims.
        prior: Recipe of the prior GAN.
        method: Crafting recipe.
        cycles: Cycles sampled, the last ones.
        images: Images of each cycle.
        samples: Test images.
        settings: ``KEY=VALUE`` texts of the crafting.
        prior_settings: ``KEY=VALUE`` texts of the prior.
    """

    def __init__(
        self,
        out: Path,
        weights: Path,
        depths: Sequence[int],
        prior: str,
        method: str,
        cycles: int,
        images: int,
        samples: int,
        settings: Sequence[str],
        prior_settings: Sequence[str],
    ) -> None:
        self.out, self.prior, self.method = out, prior, method
        self.cycles, self.images, self.samples = cycles, images, samples
        self.settings, self.prior_settings = list(settings), list(prior_settings)
        self.victims = {f"resnet{depth}": out / "victims" / f"resnet{depth}.toml" for depth in depths}
        for depth, path in zip(depths, self.victims.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = (weights / f"cifar10_resnet{depth}.safetensors").resolve()
            path.write_text(
                f'[networks.classifier]\nuse = "standard/resnet{depth}"\nchannels = 3\nclasses = 10\nweights = "{file}"\n'
                f"input_mean = {MEAN}\ninput_std = {STD}\n"
            )

    def proxies(self, seed: int) -> None:
        """Train both prior GANs of a seed, and sample them."""
        for name, extra in (("ours", []), ("activation", ["losses.balance=false"])):
            words = [word for text in (*self.prior_settings, f"run.seed={seed}", *extra) for word in ("--set", text)]
            victim = next(iter(self.victims.values()))
            sampled = ["--cycles", str(self.cycles), "--images", str(self.images)]
            gancore("uap", "prior", self.prior, "--victim", str(victim), *sampled, *words, "--out", str(self.place(seed, name)))
            print(f"prior {name}, seed {seed}, is done", flush=True)

    def crafted(self, seed: int) -> None:
        """Craft all perturbations of a seed, and score them."""
        data = {
            "arbitrary": self._arbitrary(),
            "activation": ["--proxy", str(self.place(seed, "activation") / "proxy")],
            "ours": ["--proxy", str(self.place(seed, "ours") / "proxy")],
            "target": ["--data", "cifar10"],
        }
        for name, path in self.victims.items():
            for row, source in [*data.items(), ("skip", data["ours"])]:
                texts = [*self.settings, f"run.seed={seed}"]
                words = [*source, *(["--with", "uap/sgm"] if row == "skip" else [])]
                words += [word for text in texts for word in ("--set", text)]
                out = self.place(seed, f"{row}-{name}")
                if not (out / "uap.safetensors").exists():
                    gancore("uap", "craft", self.method, "--victim", str(path), *words, "--out", str(out))
            print(f"perturbations on {name}, seed {seed}, are done", flush=True)
        if not (self.place(seed, "evaluation") / "evaluation.json").exists():
            files = [
                str(self.place(seed, f"{row}-{name}") / "uap.safetensors") for row in (*data, "skip") for name in self.victims
            ]
            victims = [word for path in self.victims.values() for word in ("--victim", str(path))]
            words = ["--target", "cifar10", "--samples", str(self.samples), "--out", str(self.place(seed, "evaluation"))]
            gancore("uap", "evaluate", *files, *victims, *words)

    def _arbitrary(self) -> list[str]:
        """Return the prior's own images as the source of a crafting."""
        described = json.loads((self.place(0, "ours") / "data.json").read_text())
        sets = [
            word for key, value in described.items() if key not in ("use", "flip") for word in ("--data-set", f"{key}={value}")
        ]
        return ["--data", described["use"], *sets]

    def describe_data(self) -> None:
        """Write down what the prior's images are."""
        from gancore.recipe import read_layer
        from gancore.registry import registry

        path = self.place(0, "ours") / "data.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(read_layer(self.prior, registry()).table["data"]))

    def place(self, seed: int, name: str) -> Path:
        """Return the folder of a stage."""
        return self.out / str(seed) / name

    def scores(self, seed: int) -> dict[str, Any]:
        """Return the fooling rates in % of a seed: row -> victim."""
        found = json.loads((self.place(seed, "evaluation") / "evaluation.json").read_text())["scores"]
        return {row: {name: 100 * of["fooling_rate"] for name, of in columns.items()} for row, columns in found.items()}

    def classes(self, seed: int, name: str) -> tuple[float, int]:
        """Return the mean number of distinct classes of a cycle, and of all cycles."""
        cycles = json.loads((self.place(seed, name) / "proxy" / "proxy.json").read_text())["cycles"]
        counts = [cycle["counts"] for cycle in cycles]
        together = [sum(of) for of in zip(*counts, strict=True)]
        return sum(sum(n > 0 for n in of) for of in counts) / len(counts), sum(n > 0 for n in together)


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, exists=True))
@click.option("--prior", default="uap/fashion-prior", show_default=True)
@click.option("--method", default="uap/gap-small", show_default=True)
@click.option("--depths", default="20,32,44,56", show_default=True, help="Of the victims; the first is in the GAN's loop.")
@click.option("--cycles", default=20, show_default=True)
@click.option("--images", default=500, show_default=True)
@click.option("--samples", default=10_000, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--first-seed", default=0, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Seeds at a time, one thread each.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Of the crafting.")
@click.option("--prior-set", "prior_settings", multiple=True, metavar="KEY=VALUE", help="Of the prior.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/universal_perturbations"), show_default=True)
def main(
    weights: Path,
    prior: str,
    method: str,
    depths: str,
    cycles: int,
    images: int,
    samples: int,
    seeds: int,
    first_seed: int,
    jobs: int,
    settings: tuple[str, ...],
    prior_settings: tuple[str, ...],
    out: Path,
) -> None:
    """Run all stages and print the tables."""
    numbers = [int(word) for word in depths.split(",")]
    trial = Experiment(out, weights, numbers, prior, method, cycles, images, samples, settings, prior_settings)
    trial.describe_data()
    chosen = range(first_seed, first_seed + seeds)

    def whole(seed: int) -> None:
        trial.proxies(seed)
        trial.crafted(seed)

    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(whole, seed) for seed in chosen]:
            done.result()
    write_json(out / "universal_perturbations.json", {str(seed): trial.scores(seed) for seed in chosen})
    _print(trial, list(chosen))


def _print(trial: Experiment, seeds: list[int]) -> None:
    scores = [trial.scores(seed) for seed in seeds]
    names = list(trial.victims)
    noise = [next(row for row in of if row.startswith("noise")) for of in scores]
    keys = {ARBITRARY: "arbitrary", ACTIVATION: "activation", OURS: "ours", SKIP: "skip", TARGET: "target"}
    rows = [[NOISE, *_cells([[of[row][name] for of, row in zip(scores, noise, strict=True)] for name in names])]]
    for title, key in keys.items():
        rows.append([title, *_cells([[of[f"{key}-{name}"][name] for of in scores] for name in names])])
    print(
        f"\nFooling rate in % on CIFAR-10's test images, {len(seeds)} seeds; each crafted on the victim that it is tested on\n"
    )
    print(markdown(["crafted on", *names, "mean"], rows))
    for title, key in ((OURS, "ours"), (SKIP, "skip"), (TARGET, "target")):
        table = [[f"on {a}", *_cells([[of[f"{key}-{a}"][b] for of in scores] for b in names])] for a in names]
        print(f"\nTransfer, {title}: crafted on (row), tested on (column)\n")
        print(markdown(["", *names, "mean"], table))
    found = {name: [trial.classes(seed, name) for seed in seeds] for name in ("activation", "ours")}
    table = [
        [title, mean_and_deviation([of[0] for of in found[name]], 2), mean_and_deviation([of[1] for of in found[name]], 1)]
        for title, name in ((ACTIVATION, "activation"), (OURS, "ours"))
    ]
    print(f"\nDistinct predicted classes of the proxy set, of 10, {trial.cycles} cycles of {trial.images} images\n")
    print(markdown(["", "in a cycle, on average", "in all cycles"], table))


def _cells(columns: list[list[float]]) -> list[str]:
    means = [sum(of) / len(of) for of in zip(*columns, strict=True)]
    return [mean_and_deviation(column, 1) for column in (*columns, means)]


if __name__ == "__main__":
    main()
