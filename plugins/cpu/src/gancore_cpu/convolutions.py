"""The accelerator: a run's iterations with gradients of convolutions computed in the way that its processor is fast at."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, get_args

from gancore import GancoreError
from gancore.tools import distributed
from gancore_cpu.override import can_override, overridden
from gancore_cpu.processor import ABOUT, Way, way_of_this_processor

if TYPE_CHECKING:
    from gancore.tools import Run

NAME = "cpu/convolutions"

LACKS = "this torch has no get_kernel, by which one kernel can call another"


def accelerate_convolutions(run: Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    """Return what runs an iteration with faster gradients of bfloat16 convolutions on a CPU.

    Weight gradients come out of sums in another order, so that they differ by rounding; all else that is computed is the same.
    The way is chosen by what the processor reports when the run begins, and goes on with the run to wherever it is resumed.

    Args:
        run: The run, as restored as it is going to be.
        step: What runs an iteration so far.
        tell: Called with ``on`` and which way, or ``off: <why>``.

    Raises:
        GancoreError: The run began with a way that this torch can't take, or that this version doesn't know.
    """
    way, status = _choose(run)
    tell(status)
    if way == "off":
        return step

    def accelerated() -> None:
        with overridden(way):
            step()

    return accelerated


def _choose(run: Run) -> tuple[Way, str]:
    """Return the way of a run and what to tell of it."""
    if run.device.type != "cpu":
        return "off", f"off: the run is on {run.device.type.upper()}"
    if run.precision != "bfloat16":
        return "off", f"off: {run.precision} is computed as always"
    choices: dict[str, str] = getattr(run, "choices", {})
    before = next((way for way in get_args(Way) if way == choices.get(NAME)), None)
    if NAME in choices and before is None:
        raise GancoreError(
            f"the run began with {NAME} ({choices[NAME]}), which this version of gancore-plugin-cpu doesn't know; install the "
            f"one that it began with, or take {NAME} out of run.accelerate and go on without."
        )
    if before in ("fold", "product") and not can_override():
        raise GancoreError(
            f"the run began with {NAME} ({before}), and {LACKS}; install the torch that it began with, or take {NAME} out of "
            "run.accelerate and go on without."
        )
    here, why = distributed.on_rank_zero(_way_here)
    way: Way = before or here
    choices[NAME] = way
    if way == here:
        return way, why
    return way, "off: as when the run began" if way == "off" else f"on ({way}), as when the run began"


def _way_here() -> tuple[Way, str]:
    """Return the way that this machine would take, and why; of several processes rank 0's holds."""
    if not can_override():
        return "off", f"off: {LACKS}"
    way = way_of_this_processor()
    return way, ABOUT[way]
