"""Grids of runs as jobs of a cluster: a gancore plugin. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl

GANCORE_API = 1


@hookimpl
def gancore_executors() -> Iterator[Component]:
    """Yield what trains the runs of a table as jobs."""
    yield Component("slurm", "gancore_slurm.jobs:slurm", "Jobs of Slurm, submitted and left to run")
    tried = "As slurm where there is one, else processes here that go on by themselves, to try it out"
    yield Component("submitit", "gancore_slurm.jobs:submitit", tried)
