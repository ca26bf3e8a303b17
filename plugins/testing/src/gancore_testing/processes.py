"""Two processes compute what one does: all components of a plugin, in one pair that the first such case starts."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import gancore
from gancore.tools import Registry, Run, distributed, merge, read_tensors, write_tensors, write_text
from gancore_testing.checks import tensors_of
from gancore_testing.hosting import SGD, Table, build_host, host_registry, plan_of
from gancore_testing.scores import evaluator_of

SIZE = 2
STEPS = 3
"""Iterations that are compared, at the most."""

TOLERANCE = 1e-3
"""How far tensors may come apart, as a share of their size or way."""

PATIENCE = timedelta(seconds=60)
"""How long a process waits for the other in a collective."""

LONGEST = 600.0
"""Seconds that all components of a plugin may take together."""

Outcome = dict[str, Tensor]

ADVICE = (
    "A loss that is not a mean over images goes through gancore.global_mean or gancore.gather; what is drawn for each image "
    "comes from gancore.rand or gancore.randn; a buffer with a row for each image is named in per_image."
)


def shared_table(table: Table, registry: Registry, *, descent: bool = True, iterations: int = STEPS) -> Table:
    """Return a host that two processes can share.

    Args:
        table: The host.
        registry: What it is read with.
        descent: Whether its players take plain descent in place of their own optimizers.
        iterations: How many are compared.
    """
    players = plan_of(table, registry).players if descent else ()
    return merge(table, {"run": {"batch_size": 8, "iterations": iterations}, "optimizers": dict.fromkeys(players, SGD)})


def outcome(run: Run) -> Outcome:
    """Step a run; return what it began with, what it ended with, its scores, and each iteration's losses.

    The losses are averaged over processes.
    """
    before = _state(run, "before")
    losses: dict[str, list[Tensor]] = {}
    for _ in range(run.recipe.run.iterations):
        run.step()
        for name, value in run.losses.items():
            losses.setdefault(f"losses/{name}", []).append(gancore.global_mean(value))
    scores = evaluator_of(run)().values if run.plan.metrics else {}
    scored = {f"scores/{name}": torch.tensor(value, dtype=torch.float64) for name, value in scores.items()}
    return before | _state(run, "after") | scored | {name: torch.stack(values) for name, values in losses.items()}


def _state(run: Run, when: str) -> Outcome:
    # What an optimizer remembers is in what it has done to the parameters.
    tensors = {name: value for name, value in tensors_of(run).items() if not name.startswith("optimizer.")}
    return {f"{when}/{name}": value.detach().clone() for name, value in tensors.items()}


def differences(one: Outcome, two: Outcome) -> list[str]:
    """Return which tensors of two processes' outcome are further from one's than rounding can bring them, and how far.

    A loss or score is measured by its largest value, a tensor of the state by how far it has come since the start.
    """
    if one.keys() != two.keys():
        return [f"{name} (in one of them alone)" for name in sorted(one.keys() ^ two.keys())]
    far = []
    for name, value in one.items():
        a, b = value.double(), two[name].double()
        if a.shape != b.shape:
            far.append(f"{name} ({tuple(a.shape)} and {tuple(b.shape)})")
        elif a.numel():
            size, kind = float(a.abs().max()), name.partition("/")[0]
            moved = float((a - one[name.replace("after", "before", 1)].double()).abs().max()) if kind == "after" else 0.0
            # Below these, a tensor's own rounding is what is compared.
            scale = max(size, 0.1) if kind in ("losses", "scores") else max(moved, 1e-3 * max(size, 1.0))
            apart = float((a - b).abs().max()) / scale
            if not apart <= TOLERANCE:
                far.append(f"{name} (by {apart:.1g} of its {'way' if kind == 'after' else 'size'})")
    return far


def two_processes(modules: Mapping[str, ModuleType], tables: Mapping[str, Callable[[], Table]]) -> Callable[[str], str | None]:
    """Return what says why a case's outcome is not that of one process, as a sentence for the author, or None.

    The pair of processes runs all cases when the first one is asked for.

    Args:
        modules: The declaring modules of the plugins that the hosts need, by name.
        tables: What returns each host, by case.
    """

    @functools.cache
    def outcomes() -> dict[str, Outcome | str]:
        built = [_built(build) for build in tables.values()]
        return dict(zip(tables, _run_together({name: module.__name__ for name, module in modules.items()}, built), strict=True))

    def problem_of(case: str) -> str | None:
        one = outcome(build_host(tables[case](), host_registry(modules)))
        two = outcomes()[case]
        if isinstance(two, str):
            return f"two processes fail where one does not: {two}"
        far = differences(one, two)
        return f"two processes do not compute what one does; they differ in {', '.join(far)}. {ADVICE}" if far else None

    return problem_of


def _built(build: Callable[[], Table]) -> Table | None:
    try:
        return build()
    except (Exception, pytest.skip.Exception, pytest.fail.Exception):
        # Its own case builds it first, and says what is wrong.
        return None


def _run_together(modules: Mapping[str, str], tables: Sequence[Table | None]) -> list[Outcome | str]:
    """Run the pair of processes to its end; return the outcome of each table, or why there is none."""
    # A server that has imported torch once forks the pairs of all plugins; it has no threads that a fork could leave behind.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)
    # What the first optimizer of a process would import.
    context.set_forkserver_preload([__name__, "torch._dynamo"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = (modules, tables, folder)
        pair = [context.Process(target=_write_outcomes, args=(rank, *arguments), daemon=True) for rank in range(SIZE)]
        for process in pair:
            process.start()
        until = time.monotonic() + LONGEST
        for process in pair:
            process.join(max(0.0, until - time.monotonic()))
        ended = " and ".join("late" if process.is_alive() else f"status {process.exitcode}" for process in pair)
        for process in pair:
            process.kill()
            process.join()
        return [_outcome_in(folder, number, ended) for number in range(len(tables))]


def _outcome_in(folder: Path, number: int, ended: str) -> Outcome | str:
    # The one that failed by itself says why, before it leaves; the other has only lost it.
    texts = [(path.stat().st_mtime_ns, path.read_text()) for path in sorted(folder.glob(f"{number}.*.txt"))]
    if texts:
        return min(texts, key=lambda text: (distributed.ProcessLost.__name__ in text[1], text[0]))[1]
    path = folder / f"{number}.safetensors"
    return read_tensors(path)[0] if path.exists() else f"they ended before its turn was over, with {ended}"


def _write_outcomes(rank: int, modules: Mapping[str, str], tables: Sequence[Table | None], folder: Path) -> None:
    """Be one of the processes: write the outcome of each host, or why there is none."""
    torch.set_num_threads(1)
    registry = host_registry({name: importlib.import_module(module) for name, module in modules.items()})
    for number, table in enumerate(tables):
        if table is None:
            continue
        # Each has a group of its own: where one process fails, its leaving frees the other from a collective that the two
        # would never finish, and both go on with the next.
        meeting = f"file://{folder / f'{number}.meeting'}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=SIZE, timeout=PATIENCE)
        try:
            tensors = outcome(build_host(table, registry))
            if rank == 0:
                write_tensors(folder / f"{number}.safetensors", tensors, {})
        except BaseException as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"
            write_text(folder / f"{number}.{rank}.txt", text)
        finally:
            dist.destroy_process_group()
