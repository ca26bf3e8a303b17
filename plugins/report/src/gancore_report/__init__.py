"""Reports, comparisons and ablations of runs: a gancore plugin. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl

GANCORE_API = 1


@hookimpl
def gancore_commands() -> Iterator[Component]:
    """Yield the commands that look at runs."""
    commands, several = "gancore_report.commands", "Several runs"
    yield Component("ablate", f"{commands}:ablate", "Train a recipe without each of some parts, and compare", group=several)
    yield Component("compare", f"{commands}:compare", "Print the scores of runs side by side", group=several)
    yield Component("compose", f"{commands}:compose", "Train a recipe with every pair of fragments", group=several)
    yield Component("reproduce", f"{commands}:reproduce", "Print a paper's table with ours beside it", group=several)
    yield Component("report", f"{commands}:report", "Write one HTML page on one run, or several", group="What a run holds")


@hookimpl
def gancore_executors() -> Iterator[Component]:
    """Yield what trains the runs of a table elsewhere than in this process."""
    yield Component("local", "gancore_report.executors:local", "Processes on this machine, which are waited for")
