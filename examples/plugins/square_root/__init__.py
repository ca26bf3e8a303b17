"""Declares square-root sampling; imports no torch."""

from collections.abc import Iterator
from pathlib import Path

import gancore


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    """Yield the component."""
    yield gancore.Component(
        "square-root",
        f"{__name__}.sampler:SquareRoot",
        "Classes drawn by the square roots of their sizes",
        cite="arXiv:1805.00932",
    )


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Yield the folder of recipes."""
    yield Path(__file__).with_name("recipes")
