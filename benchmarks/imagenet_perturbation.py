"""The pipeline of data-free perturbations on a classifier of ImageNet, at 128 px, as far as two cores bear.

    GANCORE_DATA=DIR python -m benchmarks.imagenet_perturbation imagenet_squeezenet1_1.safetensors

The victim is torchvision's SqueezeNet 1.1, with 1,000 classes; the prior learns drawn shapes, with and without class balance.
The perturbations are tested on real images: overlapping pieces of scikit-learn's two sample photographs, and CIFAR-10's test
images, enlarged. CIFAR-10's training images, enlarged, are the real images to craft on. Finished stages are not repeated.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from benchmarks.runs import gancore
from benchmarks.tables import markdown, write_json

SIZE = 128


def photographs(folder: Path, stride: int) -> int:
    """Cut scikit-learn's sample photographs into squares, a class for each photograph, and return their number."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    number = 0
    found = load_sample_images()
    for name, pixels in zip(found.filenames, found.images, strict=True):
        picture = Image.fromarray(pixels)
        place = folder / "test" / Path(name).stem
        (folder / "train" / Path(name).stem).mkdir(parents=True, exist_ok=True)
        place.mkdir(parents=True, exist_ok=True)
        for top in range(0, picture.height - SIZE + 1, stride):
            for left in range(0, picture.width - SIZE + 1, stride):
                picture.crop((left, top, left + SIZE, top + SIZE)).save(place / f"{top:03d}-{left:03d}.png")
                number += 1
    return number


@click.command()
@click.argument("weights", type=click.Path(path_type=Path, exists=True))
@click.option("--prior-iterations", default=800, show_default=True)
@click.option("--cycle", default=40, show_default=True)
@click.option("--cycles", default=10, show_default=True)
@click.option("--images", default=200, show_default=True, help="Of each cycle.")
@click.option("--width", default=0.25, show_default=True, help="Of the prior GAN's networks.")
@click.option("--iterations", default=300, show_default=True, help="Of crafting.")
@click.option("--levels", default=10, show_default=True, help="The budget, in levels of 255.")
@click.option("--stride", default=24, show_default=True, help="Pixels between the pieces of a photograph.")
@click.option("--samples", default=500, show_default=True, help="Enlarged test images of CIFAR-10.")
@click.option("--seed", default=0, show_default=True)
@click.option("--jobs", default=1, show_default=True, help="Prior GANs at a time, one thread each.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/imagenet_perturbation"), show_default=True)
def main(
    weights: Path,
    prior_iterations: int,
    cycle: int,
    cycles: int,
    images: int,
    width: float,
    iterations: int,
    levels: int,
    stride: int,
    samples: int,
    seed: int,
    jobs: int,
    out: Path,
) -> None:
    """Run all stages and print the tables."""
    out.mkdir(parents=True, exist_ok=True)
    pieces = photographs(out / "photographs", stride)
    victim = out / "squeezenet1_1.toml"
    victim.write_text(
        '[networks.classifier]\nuse = "uap/torchvision"\nmodel = "squeezenet1_1"\nclasses = 1000\n'
        f'weights = "{weights.resolve()}"\n'
    )

    def prior(name: str, extra: list[str]) -> None:
        texts = [
            f"run.iterations={prior_iterations}",
            f"run.checkpoint_every={cycle}",
            "run.batch_size=32",
            f"run.seed={seed}",
            f"data.image_size={SIZE}",
            f"networks.generator.width={width}",
            f"networks.discriminator.width={width}",
            f"losses.balance.cycle={cycle}",
            *extra,
        ]
        words = [word for text in texts for word in ("--set", text)]
        sampled = ["--cycles", str(cycles), "--images", str(images)]
        gancore("uap", "prior", "uap/shapes-prior", "--victim", str(victim), *sampled, *words, "--out", str(out / name))
        print(f"prior {name} is done", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(prior, "ours", []), pool.submit(prior, "activation", ["losses.balance=false"])]:
            done.result()
    sized = ["--data-set", f"image_size={SIZE}"]
    sources = {
        "arbitrary images (drawn shapes)": ["--data", "uap/shapes", *sized, "--data-set", "number=2000"],
        "GAN + AM": ["--proxy", str(out / "activation" / "proxy")],
        "GAN + AM + class balance (ours)": ["--proxy", str(out / "ours" / "proxy")],
        "real images (CIFAR-10's, enlarged)": ["--data", "cifar10", *sized],
    }
    files = []
    for place, source in enumerate(sources.values()):
        folder = out / f"crafted-{levels}-{place}"
        files.append(str(folder / "uap.safetensors"))
        if not Path(files[-1]).exists():
            texts = [f"run.iterations={iterations}", f"run.seed={seed}", "run.batch_size=16"]
            texts.append(f"networks.generator.epsilon={levels / 255}")
            words = [word for text in texts for word in ("--set", text)]
            gancore("uap", "craft", "uap/gap-small", "--victim", str(victim), *source, *words, "--out", str(folder))
            print(f"perturbation {place} is done", flush=True)
    tests = {
        "photographs": ["--target", "image-folder", "--target-set", f"path={out / 'photographs'}"],
        "cifar10": ["--target", "cifar10", "--samples", str(samples)],
    }
    found = {}
    for name, words in tests.items():
        scored = out / f"evaluation-{levels}-{name}"
        resized = ["--target-set", f"image_size={SIZE}", "--other-classes"]
        gancore("uap", "evaluate", *files, "--victim", str(victim), *words, *resized, "--out", str(scored))
        found[name] = json.loads((scored / "evaluation.json").read_text())["scores"]
    rows = {title: f"crafted-{levels}-{place}" for place, title in enumerate(sources)}
    (noise,) = [row for row in found["cifar10"] if row.startswith("noise")]
    table = [
        [title, *(f"{100 * found[name][row]['squeezenet1_1']['fooling_rate']:.1f}" for name in tests)]
        for title, row in {"noise of the same budget": noise, **rows}.items()
    ]
    print(f"\nFooling rate in % of SqueezeNet 1.1, l_inf {levels}/255, {SIZE} px\n")
    print(markdown(["crafted on", f"{pieces} pieces of photographs", f"{samples} images of CIFAR-10, enlarged"], table))
    classes = []
    for title, name in (("GAN + AM", "activation"), ("GAN + AM + class balance (ours)", "ours")):
        counts = [of["counts"] for of in json.loads((out / name / "proxy" / "proxy.json").read_text())["cycles"]]
        each = [sum(n > 0 for n in of) for of in counts]
        together = sum(sum(of) > 0 for of in zip(*counts, strict=True))
        classes.append([title, f"{sum(each) / len(each):.1f}", str(together)])
    print(f"\nDistinct predicted classes, of 1,000, in {cycles} cycles of {images} images\n")
    print(markdown(["", "in a cycle, on average", "in all cycles"], classes))
    write_json(out / "imagenet_perturbation.json", {"scores": found, "classes": classes})


if __name__ == "__main__":
    main()
