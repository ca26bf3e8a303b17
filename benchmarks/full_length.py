"""How long does a paper's training take? Iterations a second, and what they make of the whole length.

    python -m benchmarks.full_length [--device cuda] [--iterations 200]

Each line is a recipe in one precision, eager, compiled or as a CUDA graph: SNDCGAN at batch 64 and 256, SN-ResNet-32 and -64
at batch 64, and the setting of CBGAN's CIFAR-10 experiment with ratio 100 (batch 256, 100,000 iterations), with its classifier
in the loop. The images are noise and the classifier is untrained, for neither changes the time. A line gives the median time of
an iteration, its FLOP/s against what this machine's own matrix products reach, peak memory, and the time of 100,000 of them.

It is written for a GPU, and runs on a CPU as well (``--width 0.1 --iterations 3``).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import click
import gancore_cbgan
import gancore_standard
import torch
from gancore_profile.compiling import compile_networks
from gancore_profile.costs import Profile
from gancore_profile.cuda_graphs import replay_iterations
from gancore_profile.profiling import profile
from gancore_training import synchronize

from benchmarks import hosts
from benchmarks.step_cost import CBGAN, table
from benchmarks.tables import machine, markdown, write_json
from gancore.engine import Run, choose_device
from gancore.plan import make_plan
from gancore.recipe import check_table, merge
from gancore.registry import Registry

LENGTH = 100_000
"""Iterations of CBGAN's and SNGAN's CIFAR-10 trainings."""


SETTLE = 20
"""Iterations in which graphs are warmed up, captured and compared, and which are not timed."""

STRETCH = 10
"""Iterations between two looks at the clock, which waits for the device."""

Accelerator = Callable[[Run, Callable[[], None], Callable[[str], None]], Callable[[], None]]

ACCELERATORS: dict[str, tuple[Accelerator, ...]] = {
    "CUDA graph": (replay_iterations,),
    "compiled": (compile_networks,),
    "compiled, CUDA graph": (compile_networks, replay_iterations),
}


@attrs.frozen
class Setting:
    """One line of the table: a recipe's table by name."""

    name: str
    table: dict[str, Any]


def settings(width: float) -> list[Setting]:
    """Return what is measured, in float32."""
    resnet = {
        "networks": {
            role: {"use": f"standard/resnet-{role}", "width": width, "activation": "relu"}
            for role in ("generator", "discriminator")
        }
    }
    return [
        Setting("SNDCGAN, batch 64", table(width, 64)),
        Setting("SNDCGAN, batch 256", table(width, 256)),
        Setting("SN-ResNet-32, batch 64", merge(table(width, 64), resnet)),
        Setting("SN-ResNet-64, batch 64", merge(merge(table(width, 64), resnet), {"data": {"use": "hosts/blobs", "size": 64}})),
        Setting("CBGAN on CIFAR-10 (SNDCGAN and ResNet-32), batch 256", merge(table(width, 256), CBGAN)),
    ]


def built(recipe: dict[str, Any], device: torch.device) -> Run:
    """Return the run of a recipe's table."""
    registry = Registry.of({"standard": gancore_standard, "cbgan": gancore_cbgan, "hosts": hosts})
    return Run(make_plan(check_table(recipe, registry, name="full_length"), registry), device)


def accelerated(
    recipe: dict[str, Any], device: torch.device, iterations: int, ways: Sequence[Accelerator]
) -> tuple[float, str]:
    """Return the median seconds of an iteration as a training with these accelerators takes it, and what they say of it."""
    said: list[str] = []
    run = built(recipe, device)
    step = run.step
    for accelerate in ways:
        step = accelerate(run, step, said.append)
    for _ in range(SETTLE):
        step()
    seconds = []
    for _ in range(max(1, iterations // STRETCH)):
        synchronize(device)
        started = time.perf_counter()
        for _ in range(STRETCH):
            step()
        synchronize(device)
        seconds.append((time.perf_counter() - started) / STRETCH)
    return statistics.median(seconds), "; ".join(said)


def row(name: str, how: str, cost: Profile) -> list[str]:
    """Return a line of the table."""
    return [
        name,
        how,
        f"{1 / cost.seconds:.1f}",
        f"{cost.images_per_second:.0f}",
        f"{cost.rate / 1e12:.2f}",
        f"{100 * cost.rate / cost.matrix_rate:.0f} %",
        f"{cost.memory.peak / 2**30:.2f}",
        f"{LENGTH * cost.seconds / 60:.1f}",
    ]


@click.command()
@click.option("--width", default=1.0, show_default=True, help="Width of the GAN's networks; 1 is the paper's.")
@click.option("--iterations", default=200, show_default=True, help="Of each of a line's timed passes.")
@click.option("--device", default="auto", show_default=True)
@click.option("--compiled", is_flag=True, help="The compiled ways, which take minutes to compile, and not the others.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/full_length.json"), show_default=True)
def main(width: float, iterations: int, device: str, compiled: bool, out: Path) -> None:
    """Measure, and print a table."""
    target = choose_device(device)
    if target.type != "cuda":
        print("There is no GPU here, so these figures say nothing about one.")
    ways: dict[str, dict[str, Any]] = {"float32": {}, "bfloat16": {"precision": "bfloat16"}}
    rows, results = [], []
    for setting in settings(width):
        for how, run in ways.items():
            recipe = merge(setting.table, {"run": run})
            eager = profile(built(recipe, target), iterations)
            lines = {} if compiled else {how: eager}
            for name, accelerators in ACCELERATORS.items() if target.type == "cuda" else ():
                if (compile_networks in accelerators) == compiled:
                    seconds, said = accelerated(recipe, target, iterations, accelerators)
                    lines[f"{how}, {name} ({said})"] = attrs.evolve(eager, seconds=seconds)
            for way, cost in lines.items():
                rows.append(row(setting.name, way, cost))
                results.append({"name": setting.name, "how": way, **attrs.asdict(cost)})
                print(" | ".join(rows[-1]), flush=True)
    header = ["recipe", "how", "iterations/s", "images/s", "TFLOP/s", "of matrix rate", "peak GiB", f"minutes for {LENGTH:,}"]
    print(f"\n{', '.join(f'{key} {value}' for key, value in machine().items() if value)}\n\n{markdown(header, rows)}")
    write_json(out, {"width": width, "iterations": iterations, "lines": results})


if __name__ == "__main__":
    main()
