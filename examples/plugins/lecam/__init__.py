"""Declares LeCam regularization; imports no torch."""

from collections.abc import Iterator
from pathlib import Path

import gancore


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Yield the component."""
    yield gancore.Component("regularization", f"{__name__}.term:LeCam", "LeCam regularization of D", cite="arXiv:2104.03310")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Yield the folder of recipes."""
    yield Path(__file__).with_name("recipes")
