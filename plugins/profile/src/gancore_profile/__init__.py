"""Where an iteration spends its time, and ways to run it faster: a gancore plugin. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl

GANCORE_API = 1


@hookimpl
def gancore_accelerators() -> Iterator[Component]:
    """Yield the ways to run an iteration faster."""
    yield Component("compile", "gancore_profile.compiling:compile_networks", "Networks through torch.compile")
    yield Component("cuda-graphs", "gancore_profile.cuda_graphs:replay_iterations", "Iterations replayed as CUDA graphs")
    summary = "Operators of an iteration on a CPU, called again"
    yield Component("cpu-graphs", "gancore_profile.cpu_graphs:replay_iterations_on_cpu", summary)


@hookimpl
def gancore_commands() -> Iterator[Component]:
    """Yield the command that times a recipe."""
    summary = "Print where a recipe's iteration spends its time"
    yield Component("profile", "gancore_profile.commands:profile", summary, group="Recipes and training")


@hookimpl
def gancore_doctor() -> Iterator[str]:
    """Yield what the accelerators need."""
    from gancore_profile.doctor import needs

    yield from needs()
