"""A training step on a CPU with matrix units: a gancore plugin. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl

GANCORE_API = 1


@hookimpl
def gancore_accelerators() -> Iterator[Component]:
    """Yield what computes gradients of convolutions in another way."""
    summary = "Gradients of bfloat16 convolutions on a CPU, in the way its processor is fast at"
    yield Component("convolutions", "gancore_cpu.convolutions:accelerate_convolutions", summary)


@hookimpl
def gancore_doctor() -> Iterator[str]:
    """Yield which way this processor would take."""
    from gancore_cpu.processor import ABOUT, way_of_this_processor

    yield f"cpu/convolutions, where run.accelerate names it: {ABOUT[way_of_this_processor()]}"
