"""What does adversarial training cost? Paired in one run: plain GANs, RobGAN and Fast-RobGAN, per step of the generator.

    python -m benchmarks.adversarial_cost [--width 1.0] [--batch 64] [--iterations 10]

Images are noise of CIFAR-10's size, so nothing is downloaded. All have the same networks (G: ResNet with conditional batch
norm; D: ResNet without norm, heads for real/fake and classes) and the same loss, which is Fast-RobGAN's, so that only the way
of attacking differs. The contestants take turns, one iteration each. Forwards and backwards of D are counted, not derived.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import click
import gancore_fastrobgan
import gancore_standard
import torch
from gancore_training import TrainingRun, keep_freed_memory

from benchmarks import hosts
from benchmarks.tables import machine, markdown, write_json
from benchmarks.turns import clock_of, take_turns, timed
from gancore.engine import choose_device
from gancore.plan import make_plan
from gancore.recipe import check_table, merge
from gancore.registry import Registry

PLAIN_1 = "plain, 1 discriminator step"
PLAIN_2 = "plain, 2 discriminator steps"
PLAIN_5 = "plain, 5 discriminator steps"
ROBGAN = "RobGAN: PGD of 5 steps, 5 discriminator steps"
FAST = "Fast-RobGAN: 2 replays"


def table(width: float, batch: int, precision: str) -> dict[str, Any]:
    """Return the recipe of the plain GAN."""
    return {
        "run": {"batch_size": batch, "latent_dim": 128, "precision": precision},
        "data": {"use": "hosts/noise"},
        "networks": {
            "generator": {
                "use": "standard/resnet-generator",
                "width": width / 2,
                "conditional": True,
                "activation": "relu",
            },
            "discriminator": {"use": "fastrobgan/plain-discriminator", "width": width},
        },
        "heads": {"adversarial": {"use": "standard/linear"}, "classes": {"use": "standard/auxiliary-classifier"}},
        "losses": {"adversarial": {"use": "fastrobgan/fast-loss"}},
    }


def contestants() -> dict[str, dict[str, Any]]:
    """Return what each method lays over the plain recipe."""
    pgd = {"attacks": {"pgd": {"use": "fastrobgan/pgd", "epsilon": 0.03125, "steps": 5, "step": 0.0078}}}
    free = {"attacks": {"free": {"use": "fastrobgan/free", "epsilon": 0.02}}}

    def plain(steps: int) -> dict[str, Any]:
        return {"loop": {"use": "standard/alternating", "discriminator_steps": steps}}

    return {
        PLAIN_1: plain(1),
        PLAIN_2: plain(2),
        PLAIN_5: plain(5),
        ROBGAN: {**plain(5), **pgd},
        FAST: {"loop": {"use": "fastrobgan/free-replay", "replays": 2}, **free},
    }


def counted(run: TrainingRun) -> dict[str, int]:
    """Run one iteration and return the passes through D's backbone: images forward, and backward."""
    images = {"forward": 0, "backward": 0}
    discriminator = run.networks["discriminator"]

    def forward(_module: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        images["forward"] += len(inputs[0])
        if output.requires_grad:
            output.register_hook(lambda grad: images.__setitem__("backward", images["backward"] + len(grad)))

    handle = discriminator.register_forward_hook(forward)
    run.step()
    handle.remove()
    return images


@click.command()
@click.option("--width", default=1.0, show_default=True, help="1 is the paper's 128 maps.")
@click.option("--batch", default=64, show_default=True)
@click.option("--iterations", default=10, show_default=True, help="Of each contestant, after 3 of warm-up.")
@click.option("--precision", default="float32", show_default=True)
@click.option("--device", default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/adversarial_cost.json"), show_default=True)
def main(width: float, batch: int, iterations: int, precision: str, device: str, out: Path) -> None:
    """Measure, and print a table."""
    target = choose_device(device)
    keep_freed_memory()
    registry = Registry.of({"standard": gancore_standard, "fastrobgan": gancore_fastrobgan, "hosts": hosts})
    runs = {}
    for name, over in contestants().items():
        recipe = check_table(merge(table(width, batch, precision), over), registry, name=name)
        runs[name] = TrainingRun(make_plan(recipe, registry), target)
    passes = {name: counted(run) for name, run in runs.items()}
    clock = clock_of(cpu_time=False)
    times = take_turns({name: timed(run.step, target, clock) for name, run in runs.items()}, iterations)
    rows = []
    for name, taken in times.items():
        seen = [f"{passes[name][way] / batch:g}" for way in ("forward", "backward")]
        rows.append([name, *seen, f"{1000 * statistics.median(taken):.0f}"])
    print(f"\nResNet GAN, width {width:g}, 32 px, batch {batch}, {precision}, {iterations} iterations each, in turns")
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value), "\n")
    print(markdown(["contestant", "batches forward through D", "backward", "ms per generator step (median)"], rows))
    pairs = {
        "Fast-RobGAN against RobGAN": (FAST, ROBGAN),
        "Fast-RobGAN against plain with 2 discriminator steps": (FAST, PLAIN_2),
        "RobGAN against plain with 5 discriminator steps": (ROBGAN, PLAIN_5),
    }
    ratios = {name: statistics.median(a / b for a, b in zip(times[x], times[y], strict=True)) for name, (x, y) in pairs.items()}
    shown = [[name, f"{value:.3f}"] for name, value in ratios.items()]
    print("\n" + markdown(["time of", "ratio (median over rounds)"], shown))
    write_json(out, {"width": width, "batch": batch, "seconds": times, "passes": passes, "ratios": ratios})


if __name__ == "__main__":
    main()
