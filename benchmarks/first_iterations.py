"""Does every whole recipe of some plugins start on its own data, at its own size?

    GANCORE_DATA=... python -m benchmarks.first_iterations [PLUGIN ...] [--batch-size 8] [--iterations 1]

By default the survey's papers. Each recipe is planned; where its data are at hand, it is built at its own size and takes some
iterations, without its metrics and the networks that are trained before it for these. A line gives its parameters, the time of
an iteration, and whether its losses are finite, or what it was refused for. Exits with 1 where a recipe fails.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click
import torch
from gancore_testing.recipes import Small

from benchmarks.tables import markdown
from gancore import GancoreError
from gancore.engine import Run
from gancore.files import toml
from gancore.plan import make_plan
from gancore.recipe import check_table
from gancore.registry import registry

SURVEY = "ambientgan amgan bre causalgan coulombgan ctwgan defensegan divergences improvedgan mgan primaldual sdgan sobolevgan"
NOT_HERE = ("was not found", "not found", "no such file", "download")
"""Of the sentences that tell of data that are not at hand."""

STANDS_ON = ("which is no frozen one", "needs trained weights", "that trains it first")
"""Of those that ask for a network that is trained first."""


def first(name: str, batch_size: int, iterations: int) -> tuple[str, str, str]:
    """Return a recipe's parameters, in millions, seconds an iteration, and outcome."""
    table = Small(name, {"run": {"batch_size": batch_size}}, registry()).table()
    # Metrics alone read it, and its weights are downloaded.
    table["networks"].pop("inception", None)
    plan = make_plan(check_table(table, registry(), name=name), registry())
    run = Run(plan, torch.device("cpu"))
    number = sum(parameter.numel() for player in run.players.values() for parameter in player.parameters)
    start = time.perf_counter()
    for _ in range(iterations):
        run.step()
    seconds = (time.perf_counter() - start) / iterations
    finite = all(bool(value.isfinite()) for value in run.losses.values())
    return f"{number / 1e6:.2f}", f"{seconds:.2f}", "finite" if finite else "NOT FINITE"


@click.command()
@click.argument("plugins", nargs=-1)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--iterations", default=1, show_default=True)
def main(plugins: Sequence[str], batch_size: int, iterations: int) -> None:
    """Start recipes, and print how each began."""
    rows, failed = [], False
    for name, path in sorted(registry().recipes().items()):
        fragment = str(toml.read(path).get("summary", "")).startswith("Fragment")
        if name.partition("/")[0] not in (plugins or SURVEY.split()) or fragment:
            continue
        try:
            row = first(name, batch_size, iterations)
        except GancoreError as error:
            known = {"data not at hand": NOT_HERE, "stands on a network that is trained first": STANDS_ON}
            why = next((why for why, words in known.items() if any(each in str(error) for each in words)), "FAILED")
            failed |= why == "FAILED"
            row = ("", "", f"{why}: {error}")
        failed |= row[2] == "NOT FINITE"
        rows.append([name, *row])
        print(*rows[-1], sep="  ", file=sys.stderr, flush=True)
    print(markdown(["recipe", "parameters (M)", "seconds an iteration", "outcome"], rows))
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
