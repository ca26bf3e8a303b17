"""Declares momentum PGD; imports no torch."""

from collections.abc import Iterator
from pathlib import Path

import gancore


@gancore.hookimpl
def gancore_attacks() -> Iterator[gancore.Component]:
    """Yield the component."""
    yield gancore.Component(
        "pgd", f"{__name__}.attack:MomentumPGD", "Iterated gradient steps with momentum", cite="arXiv:1710.06081"
    )


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Yield the folder of recipes."""
    yield Path(__file__).with_name("recipes")
