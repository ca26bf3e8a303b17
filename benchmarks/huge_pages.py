"""Do huge pages make a training faster? Processes in turn: as they are, with glibc's tunable, and advised from inside.

    python -m benchmarks.huge_pages [--workload sndcgan-bfloat16 ...] [--way tunable ...] [--processes 8] [--iterations 10]

*tunable* is ``GLIBC_TUNABLES=glibc.malloc.hugetlb=1`` in the environment, which glibc reads before a process starts; *advised*
asks the kernel from inside (`madvise`), after the warm-up, for huge pages in all of the heap, present pages included. A process
warms up, then takes some iterations, one thread; its time is the median of theirs, of the processor (`time.process_time`, which
holds the kernel's work). The table gives medians over processes and over rounds of the ratio to the process as it is, with
quartiles.
"""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import torch
from gancore_training import build, keep_freed_memory

from benchmarks.cpu_step import recipe, steps
from benchmarks.tables import machine, markdown, write_json
from gancore.recipe import read
from gancore.registry import registry

WORKLOADS = ("sndcgan-bfloat16", "sndcgan-float32", "digits-lt")
WAYS = ("as it is", "tunable", "advised")
WARM_UP = 4
TUNABLE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
HUGEPAGE, COLLAPSE = 14, 25
"""Advice of Linux's `madvise`: to use huge pages from now on, and to make them of what is there."""


def iteration(workload: str) -> Callable[[], None]:
    """Return an iteration of a workload; SNDCGAN's is with `cpu/convolutions`."""
    if workload == "digits-lt":
        keep_freed_memory()
        installed = registry()
        return build(read("cbgan/digits-lt", installed), installed, torch.device("cpu")).step
    network, precision = workload.split("-")
    return steps(recipe(network, 64, precision))[1]


def advise() -> None:
    """Ask for huge pages in the heap and in every large mapping of memory without a file."""
    libc = ctypes.CDLL("libc.so.6", use_errno=True)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for line in Path("/proc/self/maps").read_text().splitlines():
        where, rights, _, _, node, *name = line.split()
        start, end = (int(bound, 16) for bound in where.split("-"))
        if rights.startswith("rw") and node == "0" and name in ([], ["[heap]"]) and end - start >= 2**21:
            for advice in (HUGEPAGE, COLLAPSE):
                libc.madvise(start, end - start, advice)


def serve(workload: str, way: str, iterations: int) -> None:
    """Be a process: print the median seconds of an iteration, the most memory in MB, and the MB of it in huge pages."""
    torch.set_num_threads(1)
    step = iteration(workload)
    for number in range(WARM_UP):
        step()
        if way == "advised" and number == WARM_UP - 2:
            advise()
    taken = []
    for _ in range(iterations):
        started = time.process_time()
        step()
        taken.append(time.process_time() - started)
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    huge = next(int(line.split()[1]) for line in rollup if line.startswith("AnonHugePages"))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(statistics.median(taken), most / 1024, huge / 1024)


def ask(workload: str, way: str, iterations: int) -> tuple[float, float, float]:
    """Return what a process of its own prints."""
    command = [sys.executable, "-m", "benchmarks.huge_pages", "--serve", way, "--workload", workload]
    environment = os.environ | (TUNABLE if way == "tunable" else {})
    done = subprocess.run(
        [*command, "--iterations", str(iterations)], env=environment, capture_output=True, text=True, check=True
    )
    seconds, most, huge = (float(each) for each in done.stdout.splitlines()[-1].split())
    return seconds, most, huge


def compare(
    workload: str, ways: tuple[str, ...], processes: int, iterations: int
) -> dict[str, list[tuple[float, float, float]]]:
    """Return what the processes of each way print; who goes first changes from round to round."""
    answers: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for number in range(processes):
        first = number % len(ways)
        for way in (*ways[first:], *ways[:first]):
            answers[way].append(ask(workload, way, iterations))
    return answers


def rows(workload: str, answers: dict[str, list[tuple[float, float, float]]]) -> list[list[str]]:
    """Return the table's rows of a workload."""
    written = []
    for way, of in answers.items():
        seconds, most, huge = (statistics.median(each) for each in zip(*of, strict=True))
        low, middle, high = statistics.quantiles((a[0] / b[0] for a, b in zip(of, answers[WAYS[0]], strict=True)), n=4)
        ratio = "" if way == WAYS[0] else f"{middle:.3f} ({low:.3f} to {high:.3f})"
        written.append([workload, way, f"{1000 * seconds:.1f}", ratio, f"{most:.0f}", f"{huge:.0f}"])
    return written


@click.command()
@click.option("--workload", "workloads", type=click.Choice(WORKLOADS), multiple=True, default=WORKLOADS, show_default=True)
@click.option("--processes", type=click.IntRange(2), default=8, show_default=True, help="Of each way.")
@click.option("--iterations", default=10, show_default=True, help="Of each process, after 4 of warm-up.")
@click.option("--way", "ways", type=click.Choice(WAYS[1:]), multiple=True, default=WAYS[1:], show_default=True)
@click.option("--serve", "way", type=click.Choice(WAYS), hidden=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/huge_pages.json"), show_default=True)
def main(
    workloads: tuple[str, ...], processes: int, iterations: int, ways: tuple[str, ...], way: str | None, out: Path
) -> None:
    """Measure, and print a table."""
    if way is not None:
        serve(workloads[0], way, iterations)
        return
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text().strip()
    print(", ".join(f"{key} {value}" for key, value in machine().items() if value), f"\nhuge pages: {enabled}\n", flush=True)
    table, results = [], {}
    for workload in workloads:
        results[workload] = compare(workload, (WAYS[0], *ways), processes, iterations)
        table += rows(workload, results[workload])
    print(markdown(["workload", "process", "ms an iteration", "time / as it is", "MB at most", "MB huge"], table))
    write_json(out, {"enabled": enabled, "iterations": iterations, "answers": results})


if __name__ == "__main__":
    main()
