"""The host's own time of an iteration: Python, operators' launches, allocations, gradients' bookkeeping; all but arithmetic."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import FrameType
from typing import Any

import attrs
import torch
from gancore_training import synchronize

from gancore.tools import Run

IDLE, PREFIX = "aten::add", "aten::"
"""The operator whose time with one number to add is that of a launch, and how names of torch's operators begin."""

LAUNCHES = 300

Calls = Mapping[str, Sequence[float]]
"""Own seconds of each call of an operator in an iteration, in their order, without the operators that it calls."""


@attrs.frozen
class HostTime:
    """What an iteration costs apart from arithmetic.

    Attributes:
        seconds: Median over iterations: on a CPU its CPU time less `arithmetic`; on a GPU the time until the host has
            launched everything, with nothing to wait for.
        arithmetic: What operators take beyond `launch`, each; 0 on a GPU, which does it aside.
        launch: Seconds of an operator with one number to add, as the same profiler sees it.
        operators: Calls of operators, those that operators call included.
        allocations: Those among them that only make room for a tensor.
        calls: Calls from Python, of functions in Python and in C.
    """

    seconds: float
    arithmetic: float
    launch: float
    operators: float
    allocations: float
    calls: int


def arithmetic(iterations: Sequence[Calls], launch: float) -> float:
    """Return the seconds that operators take beyond a launch each, by the median over iterations of each one's n-th call.

    Medians leave out what interrupted one iteration; calls that not every iteration has are left to the host.
    """
    total = 0.0
    for name in iterations[0]:
        columns = zip(*(calls.get(name, ()) for calls in iterations), strict=False)
        total += sum(max(0.0, statistics.median(column) - launch) for column in columns)
    return total


def host_time(run: Run, iterations: int) -> HostTime:
    """Measure a run, which takes a little more than twice as many iterations; every other one is profiled."""
    own, observed = [], []
    for _ in range(iterations):
        own.append(_own_seconds(run))
        observed.append(_operators(run))
    launch = _launch()
    computed = 0.0 if run.device.type == "cuda" else arithmetic(observed, launch)
    numbers = [Counter({name: len(times) for name, times in calls.items()}) for calls in observed]
    return HostTime(
        seconds=max(0.0, statistics.median(own) - computed),
        arithmetic=computed,
        launch=launch,
        operators=statistics.median(map(Counter.total, numbers)),
        allocations=statistics.median(sum(each[name] for name in each if "::empty" in name) for each in numbers),
        calls=calls_of(run),
    )


def calls_of(run: Run) -> int:
    """Return how many functions Python calls in an iteration, its own and those of libraries."""
    number = 0

    def hear(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(hear)
    try:
        run.step()
    finally:
        sys.setprofile(before)
    return number


def _own_seconds(run: Run) -> float:
    if run.device.type == "cuda":
        synchronize(run.device)
        started = time.perf_counter()
        run.step()
        return time.perf_counter() - started
    # Not the time of day: what others do on this processor is no cost of the iteration.
    started = time.thread_time()
    run.step()
    return time.thread_time() - started


def _operators(run: Run) -> Calls:
    with _profiler() as observed:
        run.step()
    return _calls(observed.events())


def _launch() -> float:
    one = torch.ones(1)
    with torch.no_grad(), _profiler() as observed:
        for _ in range(LAUNCHES):
            one.add(one)
    return statistics.median(_calls(observed.events())[IDLE])


def _profiler() -> Any:
    # torch's profiler announces itself on the terminal, unless it is told not to before its first use.
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")
    return torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])


def _calls(events: Iterable[Any] | None) -> Calls:
    calls: dict[str, list[float]] = {}
    for event in sorted(events or (), key=lambda event: event.time_range.start):
        if event.name.startswith(PREFIX):
            calls.setdefault(event.name, []).append(event.self_cpu_time_total / 1e6)
    return calls
