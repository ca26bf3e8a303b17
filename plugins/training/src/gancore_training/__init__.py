"""Training into a folder, checkpoints, samples and scores: a gancore plugin, and names for those of other distributions.

The names of the stub beside this file are what other distributions may import; those that need torch import it when they are
first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl
from gancore.tools import face

GANCORE_API = 1

__all__, __dir__, __getattr__ = face(__name__, __file__)


@hookimpl
def gancore_functions() -> Iterator[Component]:
    """Yield what stands among the names of `gancore`."""
    yield Component("train", "gancore_training.python:train", "Train a recipe into a folder, and return the run")
    yield Component("load", "gancore_training.python:load", "Open a run that was trained")


@hookimpl
def gancore_commands() -> Iterator[Component]:
    """Yield the commands of a first day's work."""
    commands, first = "gancore_training.commands", "Recipes and training"
    yield Component("train", f"{commands}:train", "Train a recipe (a name, or a TOML file)", group=first)
    yield Component("recipes", "gancore_training.listing:recipes", "List the installed recipes, all or some", group=first)
    listing = "gancore_training.component_list:components"
    yield Component("components", listing, "List the installed components, of one kind or all", group="Parts and plugins")
    shell = "gancore_training.completion:completion"
    yield Component("completion", shell, "Have a shell complete recipes, keys and names", group="Parts and plugins")
    held = "What a run holds"
    yield Component("sample", f"{commands}:sample", "Write generated images of a run's newest checkpoint", group=held)
    yield Component("evaluate", f"{commands}:evaluate", "Score a run's newest checkpoint by its recipe's metrics", group=held)
