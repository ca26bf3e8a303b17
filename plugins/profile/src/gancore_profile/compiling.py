"""Networks through ``torch.compile``, where it works here."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from gancore_training import Unsaved, restore, tensors_of
from torch import Tensor, nn

from gancore.tools import DISCRIMINATOR, distributed, first_line, plan_phase

if TYPE_CHECKING:
    from gancore.tools import Run

BACKEND = "inductor"

TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""How far a loss of a compiled iteration may be from the eager one's, relative to it or to 1."""


def compile_networks(run: Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    """Compile the forwards of a run's networks and heads, where a trial agrees, and return the step that calls them.

    An iteration is tried eagerly, then compiled, and taken back both times. Where that fails or the losses differ, everything
    stays eager. What nothing can be compiled for, by the plan, is left out from the start: a discriminator whose gradients or
    hidden activations a loss term asks for. It takes a minute or more before the first iteration, and pays on few CPUs.

    Args:
        run: The run, wherever it is; it goes on from there.
        step: What runs an iteration so far; the networks that it calls are compiled in their place.
        tell: Called with what came of it: ``on``, or ``off: <why>``.
    """
    tell(_compile(run, step))
    return step


def _compile(run: Run, step: Callable[[], None]) -> str:
    if distributed.world_size() > 1:
        # A trial that failed in one process alone would leave the others waiting for it.
        return "off: there are several processes"
    eager = _needs_eager_discriminator(run)
    chosen = {name: network for name, network in run.networks.items() if not (eager and name == DISCRIMINATOR)}
    modules: list[nn.Module] = [*chosen.values(), *([] if eager else run.heads.values())]
    if not modules:
        return f"off: {eager}"
    # torch looks at the gradient of every tensor that it traces, and then warns that somebody has.
    warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor that is not a leaf", category=UserWarning)
    started = time.perf_counter()
    expected = _tried(run, step)
    for module in modules:
        # The module's call stays torch's own, so hooks and names of parameters are what they were.
        module.forward = torch.compile(module.forward, backend=BACKEND)
    try:
        problem = _disagreement(expected, _tried(run, step), TOLERANCE[run.precision])
    except Exception as error:  # whatever a compiler may raise; the run can do without
        problem = f"it fails here ({type(error).__name__}: {first_line(error)})"
    if problem is not None:
        for module in modules:
            del module.forward
        torch.compiler.reset()
        return f"off: {problem}"
    taken = time.perf_counter() - started
    return f"on, after {taken:.0f} s" + (f", but for the discriminator: {eager}" if eager else "")


def _needs_eager_discriminator(run: Run) -> str | None:
    """Return why the discriminator can't be compiled, by the plan."""
    if DISCRIMINATOR not in run.networks:
        return None
    everything = frozenset(run.plan.terms)
    for label, term in run.plan.terms.items():
        if term.cls.differentiates:
            return f"losses.{label} takes gradients of its gradients"
    for player in run.plan.players:
        active = frozenset(label for label in everything if player in run.plan.terms[label].methods)
        if active and any(forward.activations for forward in plan_phase(run.plan, player, active).forwards):
            return "a loss term reads its hidden activations"
    return None


def _tried(run: Run, step: Callable[[], None]) -> dict[str, Tensor]:
    """Return the losses of an iteration that the run then forgets."""
    tensors = {name: tensor.detach().clone() for name, tensor in tensors_of(run).items()}
    counters, unsaved, losses = run.counters(), Unsaved(run.parts), dict(run.losses)
    try:
        step()
        return {name: loss.clone() for name, loss in run.losses.items()}
    finally:
        restore(run, tensors, counters)
        unsaved.restore({})
        run.losses.clear()
        run.losses.update(losses)


def _disagreement(expected: dict[str, Tensor], compiled: dict[str, Tensor], tolerance: float) -> str | None:
    for name, value in expected.items():
        apart: Any = (compiled[name] - value).abs() / value.abs().clamp_min(1.0)
        if not float(apart) <= tolerance:
            return f"compiled networks give the loss {name} {float(compiled[name]):.6g} instead of {float(value):.6g}"
    return None
