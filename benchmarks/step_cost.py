"""What does an iteration cost? Paired in one run: plain GAN, CBGAN, bfloat16, and a textbook loop of the same networks.

    python -m benchmarks.step_cost [--width 1.0] [--batch 64] [--iterations 15]

Images are noise of CIFAR-10's size, so nothing is downloaded. The contestants take turns, one iteration each, and the table
gives the median time of an iteration, images per second, and the median over rounds of the ratio to the contestant named.
The textbook loop (`benchmarks.textbook`) is what a tutorial writes, with torch's own spectral norm.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import click
import gancore_cbgan
import gancore_standard
import torch
from gancore_standard.networks.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from gancore_training import TrainingRun, keep_freed_memory
from torch import nn

from benchmarks import hosts
from benchmarks.tables import machine, markdown, write_json
from benchmarks.textbook import Step, relativistic_d, relativistic_g, textbook_step
from gancore.engine import choose_device
from gancore.plan import make_plan
from gancore.recipe import check_table, merge
from gancore.registry import Registry


def table(width: float, batch: int) -> dict[str, Any]:
    """Return the recipe of the plain GAN."""
    return {
        "run": {"batch_size": batch, "latent_dim": 128, "precision": "float32"},
        "data": {"use": "hosts/noise"},
        "networks": {
            "generator": {"use": "standard/sndcgan-generator", "width": width},
            "discriminator": {"use": "standard/sndcgan-discriminator", "width": width},
        },
        "heads": {"adversarial": {"use": "standard/linear"}},
        "losses": {"adversarial": {"use": "standard/relativistic"}},
        "ema": {"decay": 0.9999},
    }


CBGAN: dict[str, Any] = {
    "networks": {"classifier": {"use": "hosts/resnet32"}},
    "losses": {"balance": {"use": "cbgan/class-balance", "weight": 10.0}},
}


def recipe_step(recipe: dict[str, Any], device: torch.device) -> Step:
    """Return one iteration of a recipe."""
    registry = Registry.of({"standard": gancore_standard, "cbgan": gancore_cbgan, "hosts": hosts})
    keep_freed_memory()  # as the command line does
    return TrainingRun(make_plan(check_table(recipe, registry, name="step_cost"), registry), device).step


def textbook(width: float, batch: int, device: torch.device) -> Step:
    """Return one iteration of the textbook loop, with networks of the same layers as the recipes'."""
    size: dict[str, Any] = {"channels": 3, "image_size": 32, "width": width}
    generator = SNDCGANGenerator(**size, classes=10, latent_dim=128)
    backbone = SNDCGANDiscriminator(**size, spectral_norm=False)
    discriminator = nn.Sequential(backbone, nn.Linear(backbone.features, 1), nn.Flatten(0))
    for module in discriminator.modules():
        if type(module) in (nn.Conv2d, nn.Linear):
            nn.utils.parametrizations.spectral_norm(module)
    return textbook_step(generator, discriminator, (relativistic_d, relativistic_g), batch, device, moving_average=True)


def measure(contestants: dict[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each contestant's iterations, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 3):
        for name, step in contestants.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            started = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number >= 3:
                times[name].append(time.perf_counter() - started)
    return times


@click.command()
@click.option("--width", default=1.0, show_default=True, help="Width of SNDCGAN; 1 is the paper's.")
@click.option("--batch", default=64, show_default=True)
@click.option("--iterations", default=15, show_default=True, help="Of each contestant, after 3 of warm-up.")
@click.option("--device", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/step_cost.json"), show_default=True)
def main(width: float, batch: int, iterations: int, device: str, out: Path) -> None:
    """Measure, and print a table."""
    target = choose_device(device)
    plain_table = table(width, batch)
    low = {"run": {"precision": "bfloat16"}}
    contestants: dict[str, Step] = {
        "textbook loop, float32": textbook(width, batch, target),
        "gancore, float32": recipe_step(plain_table, target),
        "gancore + class balance, float32": recipe_step(merge(plain_table, CBGAN), target),
        "gancore, bfloat16": recipe_step(merge(plain_table, low), target),
        "gancore + class balance, bfloat16": recipe_step(merge(merge(plain_table, CBGAN), low), target),
    }
    times = measure(contestants, iterations, target)
    rows = []
    for name, taken in times.items():
        median = statistics.median(taken)
        rows.append([name, f"{1000 * median:.1f}", f"{batch / median:.0f}"])
    print(f"\nSNDCGAN, width {width:g}, 32 px, batch {batch}, {iterations} iterations each, in turns")
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value), "\n")
    print(markdown(["contestant", "ms an iteration (median)", "images/s"], rows))
    pairs = {
        "class balance against plain, float32": ("gancore + class balance, float32", "gancore, float32"),
        "class balance against plain, bfloat16": ("gancore + class balance, bfloat16", "gancore, bfloat16"),
        "float32 against bfloat16": ("gancore, float32", "gancore, bfloat16"),
        "textbook against gancore, float32": ("textbook loop, float32", "gancore, float32"),
        "textbook against gancore, bfloat16": ("textbook loop, float32", "gancore, bfloat16"),
    }
    ratios = {name: statistics.median(a / b for a, b in zip(times[x], times[y], strict=True)) for name, (x, y) in pairs.items()}
    print(
        "\n" + markdown(["time of", "ratio (median over rounds)"], [[name, f"{value:.2f}"] for name, value in ratios.items()])
    )
    write_json(out, {"width": width, "batch": batch, "seconds": times, "ratios": ratios})


if __name__ == "__main__":
    main()
