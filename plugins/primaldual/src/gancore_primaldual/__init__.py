"""GAN training by primal-dual subgradient methods (ICLR 2018; arXiv:1802.01765): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the generator's further loss."""
    target = "gancore_primaldual.dual_update:DualUpdate"
    yield gancore.Component("dual-update", target, "The generated density moved as a dual variable", cite="arXiv:1802.01765")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
