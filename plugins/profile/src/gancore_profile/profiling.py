"""Where the time of an iteration goes, by phase and by component of the recipe, and how near it is to what the machine can do.

Each question has a pass of its own, because asking disturbs: iterations that nobody looks at give the speed, iterations
with a clock at every span give the shares (on a GPU that clock waits for the device), others, in every second of which
operators are timed, give the host's own time, and single ones count floating-point operations, synchronizations, operators and
memory.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from gancore_training import Watch, recipe_digest, synchronize, tensors_of, wanted
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gancore.tools import Run, processor
from gancore_profile.allocations import Allocations
from gancore_profile.costs import DRAWING, LOOP, REST, Memory, Operator, Profile, Row, Synchronization
from gancore_profile.cuda_graphs import SETTLED
from gancore_profile.flops import FlopCounter
from gancore_profile.host_time import host_time
from gancore_profile.ledger import Ledger
from gancore_profile.matrix_rate import matrix_rate
from gancore_profile.spans import Name, Path, listening

WARM_UP = 2
OBSERVED, OPERATORS = 3, 8


def profile(run: Run, iterations: int = 10, replayed: Callable[[], None] | None = None) -> Profile:
    """Measure a run, from where it is; it goes on as if nobody had looked.

    Args:
        run: The run, which takes some five times as many iterations; networks that other recipes train may have
            any weights.
        iterations: Iterations of each timed pass.
        replayed: What runs an iteration by a graph, whose time and whose host's time are wanted. Nobody sees single components
            in a replay, so all else is of iterations that run as always.
    """
    step = replayed or run.step
    for _ in range(WARM_UP if replayed is None else SETTLED):
        step()
    seconds = statistics.median(_undisturbed(run, iterations, step))
    rate = matrix_rate(run.device, torch.bfloat16 if run.precision == "bfloat16" else torch.float32)
    spent, calls = _timed(run, iterations)
    # Iterations differ only where a term has its turn now and then.
    counted = iterations if any(term.keys.every > 1 for term in run.plan.terms.values()) else 1
    flops, waits = _counted(run, counted)
    return Profile(
        recipe=run.recipe.name,
        digest=recipe_digest(run.recipe),
        device=torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else processor(),
        threads=torch.get_num_threads(),
        precision=run.precision,
        precision_why=run.precision_why,
        iterations=iterations,
        batch_size=run.recipe.run.batch_size,
        seconds=seconds,
        host=host_time(run, iterations, step),
        host_without_graphs=None if replayed is None else host_time(run, iterations),
        seconds_with_spans=sum(spent.values()),
        matrix_rate=rate,
        memory=_memory(run),
        rows=_rows(spent, calls, flops),
        operators=_operators(run),
        synchronizations=waits,
        untrained=tuple(wanted(run.plan)),
    )


def _undisturbed(run: Run, iterations: int, step: Callable[[], None]) -> list[float]:
    """Return the seconds of each iteration; on a GPU by its own clock, which stops nothing."""
    if run.device.type != "cuda":
        taken = []
        for _ in range(iterations):
            started = time.perf_counter()
            step()
            taken.append(time.perf_counter() - started)
        return taken
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(iterations + 1)]
    marks[0].record()
    for mark in marks[1:]:
        step()
        mark.record()
    synchronize(run.device)
    return [a.elapsed_time(b) / 1000 for a, b in pairwise(marks)]


def _timed(run: Run, iterations: int) -> tuple[dict[Path, float], dict[Path, float]]:
    """Return seconds and calls of each path, for an iteration."""

    def clock() -> float:
        synchronize(run.device)
        return time.perf_counter()

    ledger = _listened(run, iterations, clock)
    return (
        {path: amount / iterations for path, amount in ledger.amounts.items()},
        {path: number / iterations for path, number in ledger.entered.items()},
    )


def _listened(run: Run, iterations: int, read: Callable[[], float]) -> Ledger:
    """Take iterations with a ledger over a meter, and return it."""
    ledger = Ledger(read)
    with _parametrizations(run, ledger), listening(run, ledger):
        for _ in range(iterations):
            run.step()
        ledger.settle()
    return ledger


@contextlib.contextmanager
def _parametrizations(run: Run, ledger: Ledger) -> Iterator[None]:
    """Make a span of every computation of a parametrized weight, such as spectral norm, which a forward hides.

    Not of a compiled network's, whose weights are computed in one piece with all else: a hook would break it up.
    """
    handles = []
    eager = [network for network in _modules(run) if "forward" not in vars(network)]
    for module in (inner for network in eager for inner in network.modules()):
        if isinstance(module, parametrize.ParametrizationList):
            name = Name(type(module[0]).__name__)
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: ledger.enter(name)))
            handles.append(module.register_forward_hook(lambda *_: ledger.leave()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _modules(run: Run) -> list[nn.Module]:
    """Return all that a run computes with, frozen networks too."""
    return list({id(module): module for module in [*run.networks.values(), *run.modules().values()]}.values())


def _counted(run: Run, iterations: int) -> tuple[dict[Path, float], tuple[Synchronization, ...]]:
    """Return the floating-point operations of each path, and what made the host wait, for an iteration."""
    waits: Counter[tuple[str, Path]] = Counter()
    with FlopCounter() as counter:
        ledger = Ledger(lambda: counter.total)
        with _parametrizations(run, ledger), listening(run, ledger):
            for _ in range(iterations):
                with Watch(lambda operator, _reason: waits.update([(operator, ledger.path)])):
                    run.step()
            ledger.settle()
    synchronizations = tuple(
        Synchronization(operator, _row(path).phase, _row(path).name, number / iterations)
        for (operator, path), number in waits.most_common()
    )
    return {path: amount / iterations for path, amount in ledger.amounts.items()}, synchronizations


def _memory(run: Run) -> Memory:
    """Return the peak memory of some iterations."""
    if run.device.type == "cuda":
        synchronize(run.device)
        torch.cuda.reset_peak_memory_stats(run.device)
        held = torch.cuda.memory_allocated(run.device)
        for _ in range(OBSERVED):
            run.step()
        peak = torch.cuda.max_memory_allocated(run.device)
        return Memory(peak, held, "tensors on the GPU, with the images that fit there")
    # Gradients of the iteration before would be freed uncounted while new ones are counted.
    for player in run.players.values():
        player.zero_grad()
    held = _held(run)
    with Allocations() as counted:
        for _ in range(OBSERVED):
            run.step()
    return Memory(held + counted.peak, held, "tensors that operators return; without the data set")


def _operators(run: Run) -> tuple[Operator, ...]:
    """Return the costliest operators of an iteration, over some."""
    # torch's profiler announces itself on the terminal, unless it is told not to before its first use.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    cuda = run.device.type == "cuda"
    activities = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as observed:
        for _ in range(OBSERVED):
            run.step()
        synchronize(run.device)
    operators = [
        Operator(
            entry.key,
            (entry.self_device_time_total if cuda else entry.self_cpu_time_total) / 1e6 / OBSERVED,
            entry.count / OBSERVED,
        )
        for entry in observed.key_averages()
    ]
    return tuple(sorted(operators, key=lambda operator: -operator.seconds)[:OPERATORS])


def _held(run: Run) -> int:
    """Return the bytes of weights, buffers, averages and optimizer state."""
    tensors: list[Tensor] = list(tensors_of(run).values())
    for module in _modules(run):
        tensors += [*module.parameters(), *module.buffers()]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _described(path: Path) -> tuple[str, str, str, str]:
    """Return phase, place, work and what it was inside of."""
    if not path:
        return LOOP, LOOP, "", ""
    phase, names = (path[0].label, path[1:]) if path[0].group == "phase" else (DRAWING, path)
    if not names:
        return phase, REST, "", ""
    around = [name.place for name in names[:-1]]
    return phase, names[-1].place, names[-1].work, ", in ".join(reversed(around))


def _row(path: Path, seconds: float = 0.0, flops: float = 0.0, calls: float = 0.0) -> Row:
    return Row(*_described(path), seconds, flops, calls)


def _rows(spent: dict[Path, float], calls: dict[Path, float], flops: dict[Path, float]) -> tuple[Row, ...]:
    rows = [_row(path, spent.get(path, 0.0), flops.get(path, 0.0), calls.get(path, 1.0)) for path in {**spent, **flops}]
    return tuple(sorted(rows, key=lambda row: -row.seconds))
