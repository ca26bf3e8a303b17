"""Declares the components of the plugin; imports no torch."""

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Yield the loss terms."""
    yield gancore.Component("penalty", "gancore_r1.penalty:R1", "R1 gradient penalty", cite="arXiv:1801.04406")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Yield the folder of recipes."""
    yield Path(__file__).with_name("recipes")
