"""What does an iteration cost? Paired in one run: plain GAN, CBGAN, bfloat16, and a textbook loop of the same networks.

    python -m benchmarks.step_cost [--width 1.0] [--batch 64] [--iterations 15] [--accelerate cpu/convolutions]

Images are noise of CIFAR-10's size, so nothing is downloaded. The contestants take turns, one iteration each, and the table
gives the median time of an iteration, images per second, its FLOP/s as a share of the matrix rate in its precision (on a CPU),
and the median over rounds of the ratio to the contestant named. With ``--accelerate`` the plain GAN takes part once more in
either precision, as the accelerators run it. The textbook loop (`benchmarks.textbook`) is what a tutorial writes, with torch's
own spectral norm.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import click
import gancore_cbgan
import gancore_cpu
import gancore_profile
import gancore_standard
import torch
from gancore_standard.networks.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from gancore_training import TrainingRun, keep_freed_memory
from gancore_training.trainer import accelerate
from torch import nn

from benchmarks import hosts
from benchmarks.tables import machine, markdown, write_json
from benchmarks.textbook import relativistic_d, relativistic_g, textbook_step
from benchmarks.turns import Step, clock_of, flop_of, matrix_rates, share_of, take_turns, timed
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


ACCELERATED = "accelerated"

PLUGINS: dict[str, Any] = {
    "standard": gancore_standard,
    "cbgan": gancore_cbgan,
    "cpu": gancore_cpu,
    "profile": gancore_profile,
    "hosts": hosts,
}

PAIRS = {
    "class balance against plain, float32": ("gancore + class balance, float32", "gancore, float32"),
    "class balance against plain, bfloat16": ("gancore + class balance, bfloat16", "gancore, bfloat16"),
    "float32 against bfloat16": ("gancore, float32", "gancore, bfloat16"),
    "textbook against gancore, float32": ("textbook loop, float32", "gancore, float32"),
    "textbook against gancore, bfloat16": ("textbook loop, float32", "gancore, bfloat16"),
    "plain against accelerated, float32": ("gancore, float32", f"gancore, float32, {ACCELERATED}"),
    "plain against accelerated, bfloat16": ("gancore, bfloat16", f"gancore, bfloat16, {ACCELERATED}"),
    "textbook against accelerated, bfloat16": ("textbook loop, float32", f"gancore, bfloat16, {ACCELERATED}"),
}
"""Whose times are compared to whose."""

CBGAN: dict[str, Any] = {
    "networks": {"classifier": {"use": "hosts/resnet32"}},
    "losses": {"balance": {"use": "cbgan/class-balance", "weight": 10.0}},
}


def recipe_step(recipe: dict[str, Any], device: torch.device) -> Step:
    """Return one iteration of a recipe, as its accelerators run it, of which is told."""
    registry = Registry.of(PLUGINS)
    keep_freed_memory()  # as the command line does
    run = TrainingRun(make_plan(check_table(recipe, registry, name="step_cost"), registry), device)
    return accelerate(run, lambda name, status: print(f"{run.precision}: {name} is {status}"))


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


def contestants(width: float, batch: int, device: torch.device, accelerators: tuple[str, ...]) -> dict[str, Step]:
    """Return an iteration of each by its name; with accelerators the plain GAN's in either precision also as they run it."""
    plain_table = table(width, batch)
    low: dict[str, Any] = {"run": {"precision": "bfloat16"}}
    steps: dict[str, Step] = {
        "textbook loop, float32": textbook(width, batch, device),
        "gancore, float32": recipe_step(plain_table, device),
        "gancore + class balance, float32": recipe_step(merge(plain_table, CBGAN), device),
        "gancore, bfloat16": recipe_step(merge(plain_table, low), device),
        "gancore + class balance, bfloat16": recipe_step(merge(merge(plain_table, CBGAN), low), device),
    }
    if accelerators:
        fast = merge(plain_table, {"run": {"accelerate": [*accelerators]}})
        steps[f"gancore, float32, {ACCELERATED}"] = recipe_step(fast, device)
        steps[f"gancore, bfloat16, {ACCELERATED}"] = recipe_step(merge(fast, low), device)
    return steps


@click.command()
@click.option("--width", default=1.0, show_default=True, help="Width of SNDCGAN; 1 is the paper's.")
@click.option("--batch", default=64, show_default=True)
@click.option("--iterations", default=15, show_default=True, help="Of each contestant, after 3 of warm-up.")
@click.option("--accelerate", "accelerators", multiple=True, help="Name of an accelerator, to be had besides.")
@click.option("--threads", type=click.IntRange(1), help="As torch chooses unless given.")
@click.option("--cpu-time", is_flag=True, help="Time by the processor, for a machine that others use too.")
@click.option("--device", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/step_cost.json"), show_default=True)
def main(
    width: float,
    batch: int,
    iterations: int,
    accelerators: tuple[str, ...],
    threads: int | None,
    cpu_time: bool,
    device: str,
    out: Path,
) -> None:
    """Measure, and print a table."""
    if threads is not None:
        torch.set_num_threads(threads)
    target, clock = choose_device(device), clock_of(cpu_time=cpu_time)
    steps = contestants(width, batch, target, accelerators)
    work = {name: flop_of(step) for name, step in steps.items()}
    rates = matrix_rates(clock) if target.type == "cpu" else {}
    times = take_turns({name: timed(step, target, clock) for name, step in steps.items()}, iterations)
    rows = []
    for name, taken in times.items():
        median = statistics.median(taken)
        share = share_of(work[name] / median, rates.get("bfloat16" if "bfloat16" in name else "float32"))
        rows.append([name, f"{1000 * median:.1f}", f"{batch / median:.0f}", share])
    of = "the processor's time" if cpu_time else "the clock's time"
    print(f"\nSNDCGAN, width {width:g}, 32 px, batch {batch}, {iterations} iterations each, in turns, {of}")
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value), "\n")
    print(markdown(["contestant", "ms an iteration (median)", "images/s", "share of the matrix rate"], rows))
    ratios = {
        name: statistics.median(a / b for a, b in zip(times[x], times[y], strict=True))
        for name, (x, y) in PAIRS.items()
        if y in times
    }
    print(
        "\n" + markdown(["time of", "ratio (median over rounds)"], [[name, f"{value:.2f}"] for name, value in ratios.items()])
    )
    results = {"width": width, "batch": batch, "accelerators": accelerators, "cpu_time": cpu_time, "rates": rates}
    write_json(out, {**results, "seconds": times, "flop": work, "ratios": ratios})


if __name__ == "__main__":
    main()
