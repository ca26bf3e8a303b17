"""Networks through ``torch.compile``, where it works here."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from gancore_training import Unsaved, restore, synchronize, tensors_of
from torch import Tensor, nn

from gancore.tools import DISCRIMINATOR, distributed, first_line, plan_phase

if TYPE_CHECKING:
    from gancore.tools import Run

BACKEND = "inductor"

NAME = "profile/compile"

TIMED = 5
"""Iterations of each kind that are timed, in turn, once both have run."""

TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2}
"""How far a loss of a compiled iteration may be from the eager one's, relative to it or to 1."""


def compile_networks(run: Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    """Compile the forwards of a run's networks and heads, where a trial gains, and return the step that calls them.

    An iteration is tried eagerly, then compiled, and taken back both times; then some of each are timed. Where that fails, the
    losses differ or the compiled ones take no less time, everything stays eager. The choice is the run's: where it is resumed
    nothing is timed again, so that no two resumes compute in different ways. What nothing can be compiled for, by the plan, is
    left out from the start: a discriminator whose gradients or hidden activations a loss term asks for. It takes a minute or
    more before the first iteration, and pays on few CPUs.

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
    choices: dict[str, str] = getattr(run, "choices", {})
    before = choices.get(NAME)
    if before == "off":
        return "off: as when the run began"
    started = time.perf_counter()
    problem, gain = _try(run, step, modules, timed=before is None)
    if problem is not None:
        _forget(modules)
        torch.compiler.reset()
        choices.setdefault(NAME, "off")
        return f"off: {problem}" + (", though the run began compiled" if before == "on" else "")
    choices[NAME] = "on"
    taken = time.perf_counter() - started
    return f"on, after {taken:.0f} s{gain}" + (f", but for the discriminator: {eager}" if eager else "")


def _try(run: Run, step: Callable[[], None], modules: Sequence[nn.Module], *, timed: bool) -> tuple[str | None, str]:
    """Compile modules; return why they should not be, if so, and what they gain, as far as that is timed."""
    expected, _ = _tried(run, step)
    # The module's call stays torch's own, so hooks and names of parameters are what they were.
    compiled = [torch.compile(module.forward, backend=BACKEND) for module in modules]
    try:
        _replace(modules, compiled)
        problem = _disagreement(expected, _tried(run, step)[0], TOLERANCE[run.precision])
        if problem is not None or not timed:
            return problem, ", as when the run began"
        plain, fast = _medians(run, step, modules, compiled)
    except Exception as error:  # whatever a compiler may raise; the run can do without
        return f"it fails here ({type(error).__name__}: {first_line(error)})", ""
    said = f"{1000 * fast:.1f} ms an iteration and {1000 * plain:.1f} ms without, medians of {TIMED}"
    return (None, f" ({said})") if fast < plain else (f"compiled networks are no faster ({said})", "")


def _replace(modules: Sequence[nn.Module], forwards: Sequence[Callable[..., Any]]) -> None:
    for module, forward in zip(modules, forwards, strict=True):
        module.forward = forward


def _forget(modules: Sequence[nn.Module]) -> None:
    """Let modules have the forwards of their classes again."""
    for module in modules:
        vars(module).pop("forward", None)


def _medians(
    run: Run, step: Callable[[], None], modules: Sequence[nn.Module], compiled: Sequence[Callable[..., Any]]
) -> tuple[float, float]:
    """Return the seconds of an eager iteration and of a compiled one; they take turns, so that both meet the same machine."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(TIMED):
        _forget(modules)
        taken[0].append(_tried(run, step)[1])
        _replace(modules, compiled)
        taken[1].append(_tried(run, step)[1])
    return statistics.median(taken[0]), statistics.median(taken[1])


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


def _tried(run: Run, step: Callable[[], None]) -> tuple[dict[str, Tensor], float]:
    """Return the losses and the seconds of an iteration that the run then forgets."""
    tensors = {name: tensor.detach().clone() for name, tensor in tensors_of(run).items()}
    counters, unsaved, losses = run.counters(), Unsaved(run.parts), dict(run.losses)
    try:
        synchronize(run.device)
        started = time.perf_counter()
        step()
        synchronize(run.device)
        seconds = time.perf_counter() - started
        return {name: loss.clone() for name, loss in run.losses.items()}, seconds
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
