"""The host's own time of an iteration: Python, operators' launches, allocations, gradients' bookkeeping; all but arithmetic."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import FrameType
from typing import Any

import attrs
import torch
from gancore_training import synchronize
from torch.utils._python_dispatch import TorchDispatchMode

from gancore.tools import Run

LAUNCHES = 300

Calls = Mapping[Any, Sequence[float]]
"""CPU seconds of each call of an operator in an iteration, in their order; below autograd, so gradients' are there too."""


@attrs.frozen
class HostTime:
    """What an iteration costs apart from arithmetic.

    Attributes:
        seconds: Median over iterations: on a CPU its CPU time less `arithmetic`; on a GPU the time until the host has
            launched everything, with nothing to wait for.
        arithmetic: What operators take beyond `launch`, each; 0 on a GPU, which does it aside.
        launch: CPU seconds of an operator with one number to add, called and timed as the others were.
        operators: Operators of an iteration, as they are below autograd.
        calls: Calls from Python, of functions in Python and in C.
    """

    seconds: float
    arithmetic: float
    launch: float
    operators: int
    calls: int


def arithmetic(iterations: Sequence[Calls], launch: float) -> float:
    """Return the seconds that operators take beyond a launch each: the median over iterations of their sum in each.

    The sum first, as in the time of an iteration that it is taken from: operators are now and then slow and never fast, so that
    medians of each would sum to less, and leave some arithmetic to the host. The median leaves out interrupted iterations.
    """
    sums = (sum(max(0.0, taken - launch) for taken in chain.from_iterable(calls.values())) for calls in iterations)
    return statistics.median(sums)


def host_time(run: Run, iterations: int, step: Callable[[], None] | None = None) -> HostTime:
    """Measure a run, which takes a little more than twice as many iterations; in every second one operators are timed.

    Args:
        run: The run.
        iterations: How many.
        step: What runs an iteration; `run.step` by default.
    """
    step = step or run.step
    own, timed = [], []
    for _ in range(iterations):
        own.append(_own_seconds(run, step))
        with _Timed() as operators:
            step()
        timed.append(operators.calls)
    launch = _launch()
    computed = 0.0 if run.device.type == "cuda" else arithmetic(timed, launch)
    number = statistics.median_low(sum(map(len, calls.values())) for calls in timed)
    return HostTime(max(0.0, statistics.median(own) - computed), computed, launch, number, calls_of(step))


def calls_of(step: Callable[[], None]) -> int:
    """Return how many functions Python calls in an iteration, its own and those of libraries."""
    number = 0

    def hear(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(hear)
    try:
        step()
    finally:
        sys.setprofile(before)
    return number


def _own_seconds(run: Run, step: Callable[[], None]) -> float:
    if run.device.type == "cuda":
        synchronize(run.device)
        started = time.perf_counter()
        step()
        return time.perf_counter() - started
    # Not the time of day: what others do on this processor is no cost of the iteration.
    started = time.thread_time()
    step()
    return time.thread_time() - started


def _launch() -> float:
    one = torch.ones(1)
    with torch.no_grad(), _Timed() as operators:
        for _ in range(LAUNCHES):
            one.add(one)
    launch: float = statistics.median(taken for calls in operators.calls.values() for taken in calls)
    return launch


class _Timed(TorchDispatchMode):
    """Times operators on the processor's clock for this thread, which stands still while others have the processor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: dict[Any, list[float]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator."""
        settings = kwargs or {}
        started = time.thread_time()
        result = func(*args, **settings)
        taken = time.thread_time() - started
        self.calls.setdefault(func, []).append(taken)
        return result
