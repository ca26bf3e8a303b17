"""Generators out of gancore: exported for use without it, and walked through in animations. A gancore plugin.

The names of the stub beside this file are what other distributions may import; they import torch when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl
from gancore.tools import face

GANCORE_API = 1

__all__, __dir__, __getattr__ = face(__name__, __file__)


@hookimpl
def gancore_commands() -> Iterator[Component]:
    """Yield the commands that take a generator out of its run."""
    commands, held = "gancore_export.commands", "What a run holds"
    yield Component("export", f"{commands}:export", "Write a run's generator for use without gancore", group=held)
    yield Component("walk", f"{commands}:walk", "Write an animation that goes from latent to latent", group=held)
