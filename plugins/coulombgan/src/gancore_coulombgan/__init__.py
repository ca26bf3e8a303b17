"""Coulomb GAN (ICLR 2018; arXiv:1708.08819): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the objective."""
    target = "gancore_coulombgan.potential:Potential"
    yield gancore.Component("potential", target, "A potential field that D learns and G follows", cite="arXiv:1708.08819")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
