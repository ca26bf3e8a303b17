"""A grid of runs that many hosts share, whose processes die: ``python -m benchmarks.grid``.

Processes that take themselves for hosts of their own work on one ablation in one folder; some are killed at random (SIGKILL),
and others start in their places. Nothing but the claims in the folder tells them of each other: a process that died is never
one of a host that still lives, so what it held is free once its claim has shown no sign of life for some seconds. In the end
every run must be whole, the same bit for bit as where one process trains them all, and no iteration of a run may lie between
two of another process. What was counted is printed; the exit status is 1 where something is otherwise. Linux alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import attrs
import torch
from gancore_report import ablation
from gancore_report.states import Unfinished
from gancore_training import RunFolder, entries, lock, outer_loop

from gancore.tools import check_table, read_tensors, registry, toml

ANNOTATOR: dict[str, Any] = {
    "run": {"iterations": 20, "batch_size": 16, "precision": "float32", "checkpoint_every": 5},
    "data": {"use": "standard/digits"},
    "loop": {"use": "standard/supervised"},
    "networks": {"classifier": {"use": "standard/small-cnn", "width": 0.25}},
    "losses": {"cross_entropy": {"use": "standard/cross-entropy"}},
}
GAME: dict[str, Any] = {
    "run": {
        "batch_size": 16,
        "latent_dim": 4,
        "precision": "float32",
        "log_every": 1,
        "sample_every": 0,
        "checkpoint_every": 5,
        "evaluate_every": 10,
    },
    "data": {"use": "standard/digits"},
    "networks": {
        "generator": {"use": "standard/mlp-generator", "hidden": 16},
        "discriminator": {"use": "standard/mlp-discriminator", "hidden": 16},
        "annotator": {"use": "standard/small-cnn", "width": 0.25},
    },
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/hinge"}, "penalty": {"use": "standard/gradient-penalty"}},
    "optimizers": {"generator": {"use": "adam"}, "discriminator": {"use": "adam"}},
    "ema": {"decay": 0.9},
    "metrics": {"classes": {"use": "standard/class-histogram"}},
    "evaluation": {"samples": 20, "batch_size": 10},
}
DROPS = ("losses.penalty", "ema")


@attrs.frozen
class Line:
    """An iteration of a run, as it was noted when it was done.

    Attributes:
        run: The run's folder.
        iteration: Which.
        process: Who did it.
    """

    run: str
    iteration: int
    process: str


def ablate(out: Path, recipe: Path, seeds: int) -> None:
    """Train what there is to train of the grid."""
    checked = check_table(toml.read(recipe), registry(), name="grid")
    ablation.ablate(checked, registry(), out, drops=DROPS, seeds=seeds, device=torch.device("cpu"))


def work(name: str, out: Path, recipe: Path, seeds: int, ledger: Path, stale: float) -> None:
    """Work on the grid until it is done, as a host called `name`, and note each iteration."""
    torch.set_num_threads(1)
    lock.STALE, lock.BEAT = stale, stale / 20
    lock.place = lambda: name  # type: ignore[assignment]
    platform.node = lambda: name
    iteration = outer_loop.OuterLoop._iteration

    def noted(self: outer_loop.OuterLoop, step: Any) -> None:
        iteration(self, step)
        with ledger.open("a") as file:
            file.write(f"{self.folder.path.name} {self.run.iteration} {name}\n")

    outer_loop.OuterLoop._iteration = noted  # type: ignore[method-assign]
    while True:
        try:
            return ablate(out, recipe, seeds)
        except Unfinished:
            time.sleep(0.2)


def share(processes: int, kills: int, rng: random.Random, started: Sequence[Any]) -> tuple[int, int]:
    """Have processes share a grid, kill some, and start others for them; return how many were started and killed.

    Every other victim is anyone, whatever it does; those between have just done an iteration.
    """
    several, numbers, ledger = multiprocessing.get_context("fork"), iter(range(10_000)), started[3]

    def start() -> BaseProcess:
        name = f"host{next(numbers)}"
        process = several.Process(target=work, args=(name, *started), name=name)
        process.start()
        return process

    alive, killed = [start() for _ in range(processes)], 0
    while alive:
        time.sleep(rng.uniform(0.1, 0.6))
        ended = [process for process in alive if not process.is_alive()]
        for process in ended:
            assert process.exitcode == 0, f"a process ended with status {process.exitcode}"
        alive = [process for process in alive if process not in ended]
        if killed < kills and not ended and ledger.exists():
            training = _next(ledger) if killed % 2 else ""
            victim = next((process for process in alive if process.name == training), None) or rng.choice(alive)
            victim.kill()
            victim.join()
            alive[alive.index(victim)] = start()
            killed += 1
    return next(numbers), killed


def _next(ledger: Path) -> str:
    """Return who does the next iteration, having waited for it for some seconds; empty where nobody does one."""
    size, until = ledger.stat().st_size, time.monotonic() + 5
    while time.monotonic() < until:
        if ledger.stat().st_size > size:
            return ledger.read_text().split()[-1]
        time.sleep(0.001)
    return ""


def stints(lines: Sequence[Line]) -> dict[str, list[list[Line]]]:
    """Return the lines of each run, in their order, by who did them one after another."""
    runs: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        runs[line.run].append(line)
    return {run: [list(own) for _, own in groupby(own, key=lambda line: line.process)] for run, own in runs.items()}


def problems_of(runs: Mapping[str, Sequence[Sequence[Line]]], last: Mapping[str, int]) -> Iterator[str]:
    """Yield what the notes say that should not be."""
    for run, own in runs.items():
        again = [process for process, number in Counter(stint[0].process for stint in own).items() if number > 1]
        if again:
            yield f"{run}: iterations of {', '.join(again)} lie on both sides of another process's"
        for stint in own:
            numbers = [line.iteration for line in stint]
            if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
                yield f"{run}: {stint[0].process} did the iterations {numbers}"
        for before, after in pairwise(own):
            if after[0].iteration > before[-1].iteration + 2:
                yield f"{run}: {after[0].process} began at {after[0].iteration}, and {before[-1].iteration} was the last before"
        if own[-1][-1].iteration != last[run]:
            yield f"{run}: its last iteration is {own[-1][-1].iteration}"


def differences(shared: Path, alone: Path) -> Iterator[str]:
    """Yield where the runs of a shared grid are not those of one process."""
    names = sorted(path.relative_to(alone) for path in alone.rglob("*.safetensors"))
    if names != sorted(path.relative_to(shared) for path in shared.rglob("*.safetensors")):
        yield "other files of weights and checkpoints"
        return
    for name in names:
        tensors, others = read_tensors(alone / name)[0], read_tensors(shared / name)[0]
        if tensors.keys() != others.keys() or not all(value.equal(others[key]) for key, value in tensors.items()):
            yield f"other tensors in {name}"
    for one in sorted(path.parent for path in alone.glob("*/recipe.toml")):
        for file in ("log.jsonl", "scores.jsonl"):
            lines = [[_timeless(line) for line in entries(out / one.name / file)] for out in (alone, shared)]
            if lines[0] != lines[1] or not lines[0]:
                yield f"another {file} of {one.name}"
    if (alone / "ablation.md").read_text() != (shared / "ablation.md").read_text():
        yield "another table"
    left = [str(path) for path in shared.rglob("*") if lock.is_claim(path.name) or path.name.endswith("-part")]
    if left:
        yield f"left behind: {', '.join(left)}"


def _timeless(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if "seconds" not in key and "per_second" not in key}


def main() -> None:
    """Run it, and print what was counted."""
    options = argparse.ArgumentParser(description=__doc__)
    for name, default in (("processes", 8), ("kills", 20), ("seeds", 10), ("iterations", 20), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--stale", type=float, default=10.0, help="seconds after which a claim without a sign of life is free")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(_compared(Path(folder), asked))


def _compared(folder: Path, asked: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    os.environ.update(GANCORE_CACHE=str(folder / "cache"), OMP_NUM_THREADS="1")
    annotator, recipe, ledger = folder / "annotator.toml", folder / "grid.toml", folder / "ledger"
    annotator.write_text(toml.dumps(ANNOTATOR))
    GAME["run"]["iterations"] = asked.iterations
    GAME["networks"]["annotator"]["trained_by"] = str(annotator)
    recipe.write_text(toml.dumps(GAME))
    begun = time.monotonic()
    started, killed = share(
        asked.processes, asked.kills, random.Random(asked.seed), (folder / "shared", recipe, asked.seeds, ledger, asked.stale)
    )
    seconds = time.monotonic() - begun
    ablate(folder / "alone", recipe, asked.seeds)
    lines = [Line(run, int(number), process) for run, number, process in map(str.split, ledger.read_text().splitlines())]
    runs = stints(lines)
    planned = {name.name: asked.iterations for name in (folder / "alone").iterdir() if RunFolder(name).recipe.is_file()}
    first = {run: ANNOTATOR["run"]["iterations"] for run in runs if run not in planned}
    found = [*problems_of(runs, planned | first), *differences(folder / "shared", folder / "alone")]
    found += [f"{run} was never trained" for run in planned.keys() - runs.keys()]
    needed = sum((planned | first).values())
    counts = {
        "processes at a time": asked.processes,
        "processes started": started,
        "processes killed": killed,
        "runs": len(planned),
        "runs that several processes took part in": sum(len(own) > 1 for run, own in runs.items() if run in planned),
        "trainings of the network that all need first": len(first),
        "iterations needed": needed,
        "iterations done": len(lines),
        "iterations done again after a death": len(lines) - len({(line.run, line.iteration) for line in lines}),
        "runs that two processes did at a time": sum(
            len(own) - len({stint[0].process for stint in own}) for own in runs.values()
        ),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(counts, indent=2))
    print("\n".join(found) or "every run is whole, and the same to the last bit as by one process; none was doubled")
    return 1 if found else 0


if __name__ == "__main__":
    main()
