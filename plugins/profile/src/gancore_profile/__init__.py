"""Where an iteration spends its time, and CUDA graphs: a gancore plugin. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl

GANCORE_API = 1


@hookimpl
def gancore_commands() -> Iterator[Component]:
    """Yield the command that times a recipe."""
    yield Component("profile", "gancore_profile.commands:profile", "Print where a recipe's iteration spends its time")
