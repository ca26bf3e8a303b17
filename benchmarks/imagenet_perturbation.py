"""The pipeline of data-free perturbations on a classifier of ImageNet, at 128 px, as far as two cores bear.

    GANCORE_DATA=DIR python -m benchmarks.imagenet_perturbation imagenet_squeezenet1_1.safetensors
    python -m benchmarks.imagenet_perturbation imagenet_squeezenet1_1.safetensors --target classes --row noise --row shapes ...

The victim is torchvision's SqueezeNet 1.1, with 1,000 classes; the prior learns drawn shapes, with and without class balance.
The perturbations are tested on real images: `classes`, pieces of foolbox's 20 images of ImageNet's classes (10 crops of each,
and their mirror images); `photographs`, overlapping pieces of scikit-learn's two sample photographs; and CIFAR-10's test
images, enlarged. CIFAR-10's training images, enlarged, are the real images to craft on. The row `sure` is crafted on those of
ours that the victim gives a confidence above `--confidence`. Each seed has GANs and perturbations of its own. Finished stages
are not repeated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import Any

import attrs
import click
import torch
from gancore_uap.proxy import ProxySet
from gancore_uap.torchvision_victims import TorchvisionClassifier
from PIL import Image
from safetensors.torch import load_file

from benchmarks.runs import gancore
from benchmarks.tables import markdown, mean_and_deviation, write_json
from gancore.tools import to_unit

SIZE = 128

TITLES = {
    "noise": "noise of the same budget",
    "shapes": "arbitrary images (drawn shapes)",
    "activation": "GAN + AM",
    "ours": "GAN + AM + class balance (ours)",
    "sure": "ours, confident images alone",
    "real": "real images (CIFAR-10's, enlarged)",
}
PRIORS = {"activation": "activation", "ours": "ours", "sure": "ours"}
"""The GAN whose images a row is crafted on."""


@attrs.frozen
class Sizes:
    """How long and how large everything is; see the options of `main`."""

    prior_iterations: int
    prior_batch: int
    prior_rate: float
    activation: float
    balance: float
    cycle: int
    cycles: int
    images: int
    width: float
    iterations: int
    batch: int
    levels: int
    samples: int
    confidence: float

    def prior(self, balanced: bool, seed: int) -> list[str]:
        """Return the settings of a prior GAN."""
        settings = {
            "run.iterations": self.prior_iterations,
            "run.checkpoint_every": self.cycle,
            "run.batch_size": self.prior_batch,
            "run.seed": seed,
            "data.image_size": SIZE,
            "networks.generator.width": self.width,
            "networks.discriminator.width": self.width,
            "losses.activation.weight": self.activation,
            "optimizers.generator.lr": self.prior_rate,
        }
        if not balanced:
            return set_words({**settings, "losses.balance": "false"})
        return set_words({**settings, "losses.balance.cycle": self.cycle, "losses.balance.weight": self.balance})

    def crafting(self, seed: int) -> list[str]:
        """Return the settings of a perturbation."""
        budget = {"networks.generator.epsilon": self.levels / 255}
        return set_words({"run.iterations": self.iterations, "run.seed": seed, "run.batch_size": self.batch, **budget})


def set_words(settings: dict[str, Any]) -> list[str]:
    """Return ``--set KEY=VALUE`` for each setting."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def photographs(folder: Path, stride: int) -> int:
    """Cut scikit-learn's sample photographs into squares, a class for each photograph, and return their number."""
    from sklearn.datasets import load_sample_images

    number = 0
    loaded = load_sample_images()
    for name, pixels in zip(loaded.filenames, loaded.images, strict=True):
        picture = Image.fromarray(pixels)
        place = folder / "test" / Path(name).stem
        (folder / "train" / Path(name).stem).mkdir(parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        for top in range(0, picture.height - SIZE + 1, stride):
            for left in range(0, picture.width - SIZE + 1, stride):
                picture.crop((left, top, left + SIZE, top + SIZE)).save(place / f"{top:03d}-{left:03d}.png")
                number += 1
    return number


def crops(picture: Image.Image) -> list[Image.Image]:
    """Return 10 squares of a picture, each beside its mirror image: middle and corners, 7/8 and 5/7 of the short side."""
    pieces = []
    for short in (146, 180):
        scale = short / min(picture.size)
        sized = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
        right, bottom = sized.width - SIZE, sized.height - SIZE
        for left, top in ((0, 0), (right, 0), (0, bottom), (right, bottom), (right // 2, bottom // 2)):
            piece = sized.crop((left, top, left + SIZE, top + SIZE))
            pieces += [piece, piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    return pieces


def classes(folder: Path) -> int:
    """Cut foolbox's images of ImageNet's classes into squares, a class for each of its labels, and return their number."""
    number = 0
    for source in sorted(Path(str(files("foolbox") / "data")).glob("imagenet_*.jpg")):
        place = folder / "test" / source.stem.rsplit("_")[-1]
        (folder / "train" / place.name).mkdir(parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        for piece in crops(Image.open(source).convert("RGB")):
            piece.save(place / f"{source.stem}-{number:05d}.png")
            number += 1
    return number


def confident(proxy: Path, victim: Path, least: float, folder: Path) -> int:
    """Write the images of a proxy set that the victim gives a confidence above `least`, and return their number."""
    network = TorchvisionClassifier(model="squeezenet1_1", classes=1000, image_size=SIZE, channels=3)
    network.load_state_dict(load_file(victim))
    images, _ = ProxySet(path=str(proxy)).load("train")
    with torch.no_grad():
        sure = torch.cat([network.eval()(to_unit(some)).softmax(1).amax(1) for some in images.split(50)])
    chosen = (sure > least).nonzero().flatten().tolist()
    for split in ("train", "test"):
        # The victim's classes are predicted anew in the crafting; the folder's name says nothing.
        (folder / split / "proxy").mkdir(parents=True, exist_ok=True)
    for place in chosen:
        Image.fromarray(images[place].permute(1, 2, 0).numpy()).save(folder / "train" / "proxy" / f"{place:05d}.png")
    Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(folder / "test" / "proxy" / "0.png")
    return len(chosen)


@attrs.frozen
class Experiment:
    """One victim, and where everything goes."""

    weights: Path
    out: Path
    sizes: Sizes

    @property
    def victim(self) -> Path:
        """The victim's recipe."""
        return self.out / "squeezenet1_1.toml"

    def write_victim(self) -> None:
        """Write the victim's recipe."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.victim.write_text(
            '[networks.classifier]\nuse = "uap/torchvision"\nmodel = "squeezenet1_1"\nclasses = 1000\n'
            f'weights = "{self.weights.resolve()}"\n'
        )

    def prior_of(self, name: str, seed: int) -> Path:
        """Return where a prior GAN and its images go."""
        return self.out / f"{name}-{seed}"

    def train_prior(self, name: str, seed: int) -> None:
        """Train a prior GAN and sample its cycles."""
        words = self.sizes.prior(name == "ours", seed)
        sampled = ["--cycles", str(self.sizes.cycles), "--images", str(self.sizes.images)]
        place = ["--out", str(self.prior_of(name, seed))]
        gancore("uap", "prior", "uap/shapes-prior", "--victim", str(self.victim), *sampled, *words, *place)
        print(f"prior {name} of seed {seed} is done", flush=True)

    def source(self, row: str, seed: int) -> list[str]:
        """Return the words that say what a row is crafted on; none where it has less than a batch of images."""
        sized = ["--data-set", f"image_size={SIZE}"]
        if row == "shapes":
            return ["--data", "uap/shapes", *sized, "--data-set", "number=2000"]
        if row == "real":
            return ["--data", "cifar10", *sized]
        proxy = self.prior_of(PRIORS[row], seed) / "proxy"
        if row != "sure":
            return ["--proxy", str(proxy)]
        folder = self.out / f"sure-{seed}"
        if not folder.exists():
            number = confident(proxy, self.weights, self.sizes.confidence, folder)
            print(f"{number} confident images of seed {seed}", flush=True)
        if len(list((folder / "train" / "proxy").iterdir())) < self.sizes.batch:
            return []
        return ["--data", "image-folder", "--data-set", f"path={folder}", *sized]

    def craft(self, row: str, seed: int) -> Path | None:
        """Craft a row's perturbation unless it is there, and return it; None where there are too few images."""
        folder = self.out / f"crafted-{self.sizes.levels}-{row}-{seed}"
        if not (folder / "uap.safetensors").exists():
            source = self.source(row, seed)
            if not source:
                return None
            words = [*source, *self.sizes.crafting(seed)]
            gancore("uap", "craft", "uap/gap-small", "--victim", str(self.victim), *words, "--out", str(folder))
            print(f"perturbation {row} of seed {seed} is done", flush=True)
        return folder / "uap.safetensors"

    def evaluate(self, name: str, target: Sequence[str], crafted: dict[str, list[Path | None]]) -> dict[str, list[float]]:
        """Return the fooling rates in % of each row's perturbations, and of noise, on a target."""
        scored = self.out / f"evaluation-{self.sizes.levels}-{name}"
        words = [str(path) for paths in crafted.values() for path in paths if path is not None]
        resized = ["--target-set", f"image_size={SIZE}", "--samples", str(self.sizes.samples), "--other-classes"]
        gancore("uap", "evaluate", *words, "--victim", str(self.victim), *target, *resized, "--out", str(scored))
        scores = json.loads((scored / "evaluation.json").read_text())["scores"]
        rates = {row: 100 * of["squeezenet1_1"]["fooling_rate"] for row, of in scores.items()}
        (noise,) = [rate for row, rate in rates.items() if row.startswith("noise")]
        of_rows = {row: [rates[path.parent.name] if path else math.nan for path in paths] for row, paths in crafted.items()}
        return {"noise": [noise], **of_rows}

    def certainty(self, name: str, seeds: int) -> list[list[float]]:
        """Return, of a GAN's images by seed: confidence, entropy in nats, distinct classes in a cycle and in all cycles."""
        rows = []
        for seed in range(seeds):
            summary = json.loads((self.prior_of(name, seed) / "proxy" / "proxy.json").read_text())
            counts = [of["counts"] for of in summary["cycles"]]
            each = [float(sum(n > 0 for n in of)) for of in counts]
            sure = [[of[key] for of in summary["cycles"]] for key in ("confidence", "entropy")]
            together = float(sum(sum(of) > 0 for of in zip(*counts, strict=True)))
            rows.append([*(sum(of) / len(of) for of in [*sure, each]), together])
        return rows


TARGETS: dict[str, Callable[[Path], list[str]]] = {
    "classes": lambda folder: ["--target", "image-folder", "--target-set", f"path={folder}"],
    "photographs": lambda folder: ["--target", "image-folder", "--target-set", f"path={folder}"],
    "cifar10": lambda _folder: ["--target", "cifar10"],
}


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, exists=True))
@click.option("--prior-iterations", default=800, show_default=True)
@click.option("--prior-batch", default=32, show_default=True)
@click.option("--prior-rate", default=2e-4, show_default=True, help="Learning rate of the prior's generator.")
@click.option("--activation", default=1.0, show_default=True, help="Weight of activation maximization.")
@click.option("--balance", default=2.0, show_default=True, help="Weight of class balance.")
@click.option("--cycle", default=40, show_default=True)
@click.option("--cycles", default=10, show_default=True)
@click.option("--images", default=200, show_default=True, help="Of each cycle.")
@click.option("--width", default=0.25, show_default=True, help="Of the prior GAN's networks.")
@click.option("--iterations", default=300, show_default=True, help="Of crafting.")
@click.option("--batch", default=16, show_default=True, help="Of crafting.")
@click.option("--levels", default=10, show_default=True, help="The budget, in levels of 255.")
@click.option("--samples", default=500, show_default=True, help="Images of each target, at most.")
@click.option("--confidence", default=0.5, show_default=True, help="Least of the victim, for the row `sure`.")
@click.option("--stride", default=24, show_default=True, help="Pixels between the pieces of a photograph.")
@click.option("--target", "targets", multiple=True, type=click.Choice(list(TARGETS)), default=list(TARGETS), show_default=True)
@click.option("--row", "rows", multiple=True, type=click.Choice(list(TITLES)), default=list(TITLES), show_default=True)
@click.option("--seeds", default=1, show_default=True)
@click.option("--jobs", default=1, show_default=True, help="Prior GANs at a time, one thread each.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/imagenet_perturbation"), show_default=True)
def main(
    weights: Path,
    targets: tuple[str, ...],
    rows: tuple[str, ...],
    stride: int,
    seeds: int,
    jobs: int,
    out: Path,
    **sizes: Any,
) -> None:
    """Run all stages and print the tables."""
    experiment = Experiment(weights, out, Sizes(**sizes))
    experiment.write_victim()
    priors = [name for name in ("activation", "ours") if name in {PRIORS.get(row) for row in rows}]
    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(experiment.train_prior, name, seed) for seed in range(seeds) for name in priors]:
            done.result()
    crafted = {row: [experiment.craft(row, seed) for seed in range(seeds)] for row in rows if row != "noise"}
    rates, numbers = {}, {}
    for name in targets:
        folder = out / name
        numbers[name] = {"classes": lambda at: classes(at), "photographs": lambda at: photographs(at, stride)}.get(
            name, lambda _at: experiment.sizes.samples
        )(folder)
        rates[name] = experiment.evaluate(name, TARGETS[name](folder), crafted)
    shown = [[TITLES[row], *(mean_and_deviation(rates[name][row], 1) for name in targets)] for row in rows]
    print(f"\nFooling rate in % of SqueezeNet 1.1, l_inf {experiment.sizes.levels}/255, {SIZE} px, {seeds} seeds\n")
    print(markdown(["crafted on", *(f"{name}, {numbers[name]} images" for name in targets)], shown))
    certainty = {name: experiment.certainty(name, seeds) for name in priors}
    about = [
        [TITLES[name], *(mean_and_deviation(of, 2) for of in zip(*by_seed, strict=True))] for name, by_seed in certainty.items()
    ]
    print(f"\nProxy sets of {experiment.sizes.cycles} cycles of {experiment.sizes.images} images\n")
    print(markdown(["", "confidence", "entropy, nats", "classes in a cycle", "in all cycles"], about))
    write_json(out / "imagenet_perturbation.json", {"fooling_rates": rates, "proxies": certainty})


if __name__ == "__main__":
    main()
