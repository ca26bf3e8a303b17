"""Class Balancing GAN with a classifier in the loop (arXiv:2106.09402), a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the regularizer."""
    yield gancore.Component(
        "class-balance",
        "gancore_cbgan.class_balance:ClassBalance",
        "Class-balancing regularizer: a weighted entropy of a classifier's mean prediction",
        cite="arXiv:2106.09402",
    )


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
