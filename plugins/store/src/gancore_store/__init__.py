"""Image sets larger than memory, prepared once as plain shards: a command that writes them, and the data set that reads them.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl


@hookimpl
def gancore_datasets() -> Iterator[Component]:
    """Yield what reads a prepared store."""
    yield Component("prepared", "gancore_store.prepared:Prepared", "Images that `gancore prepare` has written")


@hookimpl
def gancore_commands() -> Iterator[Component]:
    """Yield what writes a store."""
    yield Component(
        "prepare",
        "gancore_store.commands:prepare",
        "Prepare an image set larger than memory, once",
        group="Recipes and training",
    )
