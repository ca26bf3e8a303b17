"""Declares a head with minibatch statistics; imports no torch."""

from collections.abc import Iterator
from pathlib import Path

import gancore


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    """Yield the component."""
    yield gancore.Component(
        "deviation",
        f"{__name__}.head:MinibatchDeviation",
        "One logit that sees how far its batch spreads",
        cite="arXiv:1710.10196",
    )


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Yield the folder of recipes."""
    yield Path(__file__).with_name("recipes")
