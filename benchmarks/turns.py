"""Iterations that take turns, timed by the clock or by the processor, and how near they come to what it can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from gancore_profile.flops import FlopCounter
from torch.nn import functional as F

Step = Callable[[], None]
Timed = Callable[[], float]
"""Runs an iteration and returns its seconds."""

Clock = Callable[[], float]

WARM_UP = 3


def clock_of(*, cpu_time: bool) -> Clock:
    """Return the clock's time, or the processor's of all threads, on which others on the machine tell little."""
    return time.process_time if cpu_time else time.perf_counter


def timed(step: Callable[[], object], device: torch.device, clock: Clock) -> Timed:
    """Return what runs an iteration, waits for the device, and says how long it took."""

    def once() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = clock()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - started

    return once


def take_turns(contestants: Mapping[str, Timed], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contestant's iterations, after a warm-up of three; every other round runs backwards."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + WARM_UP):
        order = [*contestants] if number % 2 else [*contestants][::-1]
        for name in order:
            seconds = contestants[name]()
            if number >= WARM_UP:
                times[name].append(seconds)
    return times


def flop_of(step: Callable[[], object]) -> int:
    """Return the floating-point operations of an iteration, which it runs: products, convolutions and their gradients."""
    with FlopCounter() as counter:
        step()
    return int(counter.total)


def matrix_rate(dtype: torch.dtype, clock: Clock) -> float:
    """Return FLOP/s of a CPU: a product of matrices of 1,024 or a convolution, whichever is the faster, the best of thirty."""
    square = torch.randn(1024, 1024, dtype=dtype)
    images = torch.randn(32, 128, 16, 16, dtype=dtype).contiguous(memory_format=torch.channels_last)
    kernels = torch.randn(128, 128, 3, 3, dtype=dtype).contiguous(memory_format=torch.channels_last)
    product = _best(lambda: square @ square, clock)
    convolution = _best(lambda: F.conv2d(images, kernels, padding=1), clock)
    return max(2 * 1024**3 / product, 2 * 32 * 16 * 16 * 128 * 128 * 9 / convolution)


def _best(work: Callable[[], object], clock: Clock) -> float:
    """Return the seconds of the fastest repetition."""
    taken = []
    for _ in range(30):
        started = clock()
        work()
        taken.append(clock() - started)
    return min(taken)


def matrix_rates(clock: Clock) -> dict[str, float]:
    """Return that rate in either precision."""
    return {precision: matrix_rate(getattr(torch, precision), clock) for precision in ("float32", "bfloat16")}


def share_of(speed: float, rate: float | None) -> str:
    """Return FLOP/s as a share of a rate in percent, empty where the rate is not known."""
    return "" if rate is None else f"{100 * speed / rate:.0f} %"
