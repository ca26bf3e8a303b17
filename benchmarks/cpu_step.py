"""What does `cpu/convolutions` gain in a training step? The same recipe without and with it, one iteration each in turn.

    python -m benchmarks.cpu_step [--game sndcgan --game resnet ...] [--batch 64] [--pairs 20] [--threads 1]

Images are noise of CIFAR-10's size. Both runs of a pair have the same networks, seed and allocator in one process; who goes
first changes from pair to pair. Times are of the processor (`time.process_time`), so that others on the machine count little;
with several threads they hold the time that a thread waits for another. ``--wall`` takes the clock's instead. The share of the
matrix rate is the FLOP of an iteration over its time, against a product of matrices on this machine, timed first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import gancore_r3gan
import gancore_standard
import torch
from gancore_cpu.convolutions import accelerate_convolutions
from gancore_profile.flops import FlopCounter
from gancore_training import TrainingRun, keep_freed_memory

from benchmarks import hosts
from benchmarks.tables import machine, markdown, write_json
from gancore.plan import make_plan
from gancore.recipe import check_table
from gancore.registry import Registry

GAMES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sndcgan": ("sndcgan", "standard/relativistic", {}),
    "resnet": ("resnet", "standard/non-saturating", {}),
    "wgan-gp": ("sndcgan", "standard/wasserstein", {"penalty": {"use": "standard/gradient-penalty"}}),
    "r1": ("sndcgan", "standard/non-saturating", {"penalty": {"use": "r3gan/penalty"}}),
}
"""Networks, adversarial loss and further losses of a game."""


def recipe(game: str, batch: int, precision: str) -> dict[str, Any]:
    """Return the table of a game."""
    network, loss, others = GAMES[game]
    settings = {"activation": "relu"} if network == "resnet" else {}
    return {
        "run": {"batch_size": batch, "latent_dim": 128, "precision": precision},
        "data": {"use": "hosts/noise"},
        "networks": {role: {"use": f"standard/{network}-{role}", **settings} for role in ("generator", "discriminator")},
        "heads": {"adversarial": {"use": "standard/linear"}},
        "losses": {"adversarial": {"use": loss}, **others},
    }


def steps(table: dict[str, Any]) -> tuple[Callable[[], None], Callable[[], None], str]:
    """Return an iteration without and with the accelerator, and what that says of itself."""
    registry = Registry.of({"standard": gancore_standard, "r3gan": gancore_r3gan, "hosts": hosts})
    keep_freed_memory()  # as the command line does
    told: list[str] = []
    plain, fast = (
        TrainingRun(make_plan(check_table(table, registry, name="cpu_step"), registry), torch.device("cpu")) for _ in range(2)
    )
    return plain.step, accelerate_convolutions(fast, fast.step, told.append), told[-1]


def measure(
    plain: Callable[[], None], fast: Callable[[], None], pairs: int, clock: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Return the seconds of each iteration of the two."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(pairs + 2):
        for which in (0, 1) if number % 2 else (1, 0):
            started = clock()
            (plain, fast)[which]()
            if number >= 2:
                times[which].append(clock() - started)
    return times


def product_rate(clock: Callable[[], float]) -> float:
    """Return FLOP/s of a bfloat16 product of matrices of 1,024, the best of thirty."""
    square = torch.randn(1024, 1024, dtype=torch.bfloat16)
    taken = []
    for _ in range(30):
        started = clock()
        square @ square
        taken.append(clock() - started)
    return 2 * 1024**3 / min(taken)


@click.command()
@click.option("--game", "games", type=click.Choice([*GAMES]), multiple=True, default=[*GAMES], show_default=True)
@click.option("--batch", "batches", type=int, multiple=True, default=[64], show_default=True)
@click.option("--precision", "precisions", multiple=True, default=["bfloat16", "float32"], show_default=True)
@click.option("--pairs", default=20, show_default=True, help="Of iterations, after 2 of warm-up.")
@click.option("--threads", default=1, show_default=True)
@click.option("--wall", is_flag=True, help="Time by the clock.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/cpu_step.json"), show_default=True)
def main(
    games: tuple[str, ...],
    batches: tuple[int, ...],
    precisions: tuple[str, ...],
    pairs: int,
    threads: int,
    wall: bool,
    out: Path,
) -> None:
    """Measure, and print a table."""
    torch.set_num_threads(threads)
    clock = time.perf_counter if wall else time.process_time
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value), "\n", flush=True)
    rate = product_rate(clock)
    rows, kept = [], {}
    for game, batch, precision in ((g, b, p) for g in games for b in batches for p in precisions):
        plain, fast, told = steps(recipe(game, batch, precision))
        with FlopCounter() as counter:
            plain()
        fast()
        without, with_it = measure(plain, fast, pairs, clock)
        ratio = statistics.median(a / b for a, b in zip(without, with_it, strict=True))
        before, after = statistics.median(without), statistics.median(with_it)
        shares = [f"{100 * counter.total / each / rate:.0f} %" for each in (before, after)]
        shares = shares if precision == "bfloat16" else ["", ""]
        rows.append([game, str(batch), precision, f"{1000 * before:.0f}", f"{1000 * after:.0f}", f"{ratio:.2f}", *shares])
        kept[f"{game}, {batch}, {precision}"] = {"without": without, "with": with_it, "ratio": ratio, "told": told}
        print(" | ".join(rows[-1]), told, flush=True)
    rate = max(rate, product_rate(clock))
    header = ["game", "batch", "precision", "ms without", "ms with", "ratio (median over pairs)", "share without", "share with"]
    print("\n" + markdown(header, rows))
    print(f"\nmatrix rate: {rate / 1e9:.0f} GFLOP/s, {threads} thread{'s' * (threads != 1)}")
    write_json(out, {"pairs": pairs, "threads": threads, "wall": wall, "rate": rate, "games": kept})


if __name__ == "__main__":
    main()
