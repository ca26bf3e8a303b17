"""Reports, comparisons and ablations of runs: a gancore plugin. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl

GANCORE_API = 1


@hookimpl
def gancore_commands() -> Iterator[Component]:
    """Yield the commands that look at runs."""
    commands = "gancore_report.commands"
    yield Component("ablate", f"{commands}:ablate", "Train a recipe without each of some parts, and print the scores")
    yield Component("compare", f"{commands}:compare", "Print the scores of runs side by side")
    yield Component("compose", f"{commands}:compose", "Train a recipe with every pair of fragments: what combines with what")
    yield Component("report", f"{commands}:report", "Write one HTML page on one run, or on several side by side")
