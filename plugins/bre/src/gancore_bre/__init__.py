"""Binarized representation entropy (Cao et al. 2018, arXiv:1805.03644): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

BRE = "arXiv:1805.03644"


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the regularizer, on generated images and between them and real ones."""
    regularizer = "gancore_bre.regularizer"
    yield gancore.Component("entropy", f"{regularizer}:Entropy", "D's hidden units fire apart on generated images", cite=BRE)
    yield gancore.Component("entropy-between", f"{regularizer}:EntropyBetween", "The same between real and generated", cite=BRE)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
