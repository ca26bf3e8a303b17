"""What does `cpu/convolutions` gain in a training step? The same recipe without and with it, one iteration each in turn.

    python -m benchmarks.cpu_step [--game sndcgan --game resnet ...] [--batch 64] [--pairs 20] [--threads 1]

Images are noise of CIFAR-10's size. Both runs of a pair have the same networks, seed and allocator in one process; who goes
first changes from pair to pair. Times are of the processor (`time.process_time`), so that others on the machine count little;
with several threads they hold the time that a thread waits for another. ``--wall`` takes the clock's instead. The share of the
matrix rate is the FLOP of an iteration over its time, against the better of a product of matrices and a convolution of its
precision, timed first and last.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import gancore_r3gan
import gancore_standard
import torch
from gancore_cpu.convolutions import accelerate_convolutions
from gancore_training import TrainingRun, keep_freed_memory

from benchmarks import hosts
from benchmarks.tables import machine, markdown, write_json
from benchmarks.turns import clock_of, flop_of, matrix_rates, share_of, take_turns, timed
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


@click.command()
@click.option("--game", "games", type=click.Choice([*GAMES]), multiple=True, default=[*GAMES], show_default=True)
@click.option("--batch", "batches", type=int, multiple=True, default=[64], show_default=True)
@click.option("--precision", "precisions", multiple=True, default=["bfloat16", "float32"], show_default=True)
@click.option("--pairs", default=20, show_default=True, help="Of iterations, after 3 of warm-up.")
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
    clock, device = clock_of(cpu_time=not wall), torch.device("cpu")
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value), "\n", flush=True)
    rates = matrix_rates(clock)
    rows, results = [], {}
    for game, batch, precision in ((g, b, p) for g in games for b in batches for p in precisions):
        plain, fast, told = steps(recipe(game, batch, precision))
        work = flop_of(plain)
        times = take_turns({"without": timed(plain, device, clock), "with": timed(fast, device, clock)}, pairs)
        ratio = statistics.median(a / b for a, b in zip(times["without"], times["with"], strict=True))
        medians = [statistics.median(each) for each in times.values()]
        shares = [share_of(work / each, rates[precision]) for each in medians]
        rows.append([game, str(batch), precision, *(f"{1000 * each:.0f}" for each in medians), f"{ratio:.2f}", *shares])
        results[f"{game}, {batch}, {precision}"] = {**times, "ratio": ratio, "flop": work, "told": told}
        print(" | ".join(rows[-1]), told, flush=True)
    again = matrix_rates(clock)
    header = ["game", "batch", "precision", "ms without", "ms with", "ratio (median over pairs)", "share without", "share with"]
    print("\n" + markdown(header, rows))
    for precision, rate in rates.items():
        print(f"\nmatrix rate, {precision}: {rate / 1e9:.0f} GFLOP/s before, {again[precision] / 1e9:.0f} after", end="")
    print(f", {threads} thread{'s' * (threads != 1)}")
    write_json(out, {"pairs": pairs, "threads": threads, "wall": wall, "rates": [rates, again], "games": results})


if __name__ == "__main__":
    main()
