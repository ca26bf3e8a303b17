"""Declares the lookahead loop; imports no torch."""

from collections.abc import Iterator
from pathlib import Path

import gancore


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    """Yield the component."""
    yield gancore.Component(
        "lookahead", f"{__name__}.loop:Lookahead", "Both players go back towards slow weights", cite="arXiv:2006.14567"
    )


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Yield the folder of recipes."""
    yield Path(__file__).with_name("recipes")
