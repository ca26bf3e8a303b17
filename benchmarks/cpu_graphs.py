"""Does `profile/cpu-graphs` compute the same to the last bit, of which recipes, and what does it gain in an iteration?

    python -m benchmarks.cpu_graphs                          # every recipe that needs no files, 12 iterations beside 12 without
    python -m benchmarks.cpu_graphs --pairs 30 --rounds 5 --recipe cbgan/digits-lt --with dsgan/difference

Both runs have the same recipe and seed in one process, and take their iterations in turn; who goes first changes from pair to
pair. After each iteration the losses must be equal, and at the end every tensor of the state and every gradient. Networks that
other recipes train have the weights that they are drawn with. Times are of the processor (`time.process_time`), so that others
on the machine count little; the ratio is the median over pairs of an iteration without to one with it. The host's own time is
that of `gancore profile`, ten iterations without and ten with it in turn; medians over such rounds.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch
from gancore_profile.cpu_graphs import replay_iterations_on_cpu
from gancore_profile.host_time import host_time
from gancore_training import TrainingRun, keep_freed_memory
from gancore_training.listing import listing

from benchmarks.tables import machine, markdown, write_json
from gancore.errors import GancoreError
from gancore.plan import make_plan
from gancore.recipe import Recipe, read
from gancore.registry import registry

HEADER = ["recipe", "ms without", "ms with", "ratio", "host without", "host with", "ratio", "profile/cpu-graphs", "equal"]

CPU = torch.device("cpu")


def gradients(run: TrainingRun) -> list[torch.Tensor | None]:
    """Return the gradients that an iteration has left, of all players' parameters."""
    return [parameter.grad for player in run.players.values() for parameter in player.parameters]


def differences(plain: TrainingRun, fast: TrainingRun) -> list[str]:
    """Return in which tensors, by name, two runs differ."""
    pairs = [(name, value, fast.tensors()[name]) for name, value in plain.tensors().items()]
    apart = [name for name, one, two in pairs if not torch.equal(one.nan_to_num(7e7), two.nan_to_num(7e7))]
    for one, two in zip(gradients(plain), gradients(fast), strict=True):
        if (one is None) != (two is None) or (one is not None and two is not None and not torch.equal(one, two)):
            apart.append("a gradient")
    return apart


def compare(checked: Recipe, iterations: int, pairs: int, rounds: int) -> dict[str, Any]:
    """Return what came of a recipe: what was told, what differs, and the seconds of the pairs and of the host in the rounds."""
    plain, fast = (TrainingRun(make_plan(checked, registry()), CPU) for _ in range(2))
    told: list[str] = []
    replayed = replay_iterations_on_cpu(fast, fast.step, told.append)
    apart: list[str] = []
    for number in range(iterations):
        plain.step()
        replayed()
        for name, loss in plain.losses.items():
            if not torch.equal(loss.nan_to_num(7e7), fast.losses[name].nan_to_num(7e7)):
                apart.append(f"the loss {name} of iteration {number}")
    apart += differences(plain, fast)
    times = measure(plain.step, replayed, pairs)
    hosts = [(host_time(plain, 10).seconds, host_time(fast, 10, replayed).seconds) for _ in range(rounds)]
    apart += differences(plain, fast)
    return {"told": told, "differences": apart, "times": [*zip(*times, strict=True)], "hosts": hosts}


def measure(plain: Callable[[], None], fast: Callable[[], None], pairs: int) -> tuple[list[float], list[float]]:
    """Return the seconds of each iteration of the two, as many of both."""
    times: tuple[list[float], list[float]] = ([], [])
    for number, which in itertools.product(range(pairs), (0, 1)):
        which = which if number % 2 else 1 - which
        started = time.process_time()
        (plain, fast)[which]()
        times[which].append(time.process_time() - started)
    return times


def figures(pairs: Sequence[tuple[float, float]]) -> list[str]:
    """Return the medians without and with it, in milliseconds, and that of the ratios."""
    if not pairs:
        return ["", "", ""]
    medians = [f"{1000 * statistics.median(column):.2f}" for column in zip(*pairs, strict=True)]
    return [*medians, f"{statistics.median(a / b for a, b in pairs):.3f}"]


def row(name: str, result: dict[str, Any]) -> list[str]:
    """Return a line of the table."""
    apart, told = result["differences"], "; ".join(result["told"]) or "nothing yet"
    return [name, *figures(result["times"]), *figures(result["hosts"]), told, f"NO: {apart[0]}" if apart else "yes"]


@click.command()
@click.option("--recipe", "recipes", multiple=True, help="Every recipe that needs no files by default.")
@click.option("--with", "overlays", multiple=True, help="A recipe over each.")
@click.option("--set", "assignments", multiple=True, help="A setting of each.")
@click.option("--iterations", default=12, show_default=True, help="Before the pairs; five of each kind are no replays.")
@click.option("--pairs", default=0, show_default=True, help="Of iterations that are timed.")
@click.option("--rounds", default=0, show_default=True, help="In which the host's own time is measured.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/cpu_graphs.json"), show_default=True)
def main(
    recipes: tuple[str, ...],
    overlays: tuple[str, ...],
    assignments: tuple[str, ...],
    iterations: int,
    pairs: int,
    rounds: int,
    out: Path,
) -> None:
    """Compare, and print a table."""
    keep_freed_memory()  # as the command line does
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value), "\n", flush=True)
    rows, results = [], {}
    for name in recipes or [one.name for one in listing(registry()) if not (one.fragment or one.needs)]:
        try:
            checked = read(name, registry(), overlays=overlays, assignments=assignments)
            results[name] = compare(checked, iterations, pairs, rounds)
        except GancoreError as error:
            print(f"{name}: {error}", flush=True)
            continue
        rows.append(row(name, results[name]))
        print(" | ".join(rows[-1]), flush=True)
    print("\n" + markdown(HEADER, rows))
    write_json(out, results)


if __name__ == "__main__":
    main()
