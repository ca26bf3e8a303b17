"""Image sets of the Hugging Face Hub. Imports no torch, and `datasets` when a set is opened."""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl


@hookimpl
def gancore_datasets() -> Iterator[Component]:
    """Yield what reads a set of the Hub, or one that is saved as such."""
    yield Component("dataset", "gancore_hub.dataset:HubDataset", "Images of the Hugging Face Hub, or a folder `datasets` reads")
