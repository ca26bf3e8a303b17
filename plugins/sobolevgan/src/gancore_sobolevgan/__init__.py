"""Sobolev GAN (ICLR 2018; arXiv:1711.04894): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

SOBOLEV = "arXiv:1711.04894"
FISHER = "arXiv:1705.09675"


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the constraints, and the semi-supervised objective."""
    constraints = "gancore_sobolevgan.constraints"
    yield gancore.Component("sobolev", f"{constraints}:Sobolev", "Mean squared gradient 1, on both sides", cite=SOBOLEV)
    yield gancore.Component("sobolev-between", f"{constraints}:SobolevBetween", "The same between the sides", cite=SOBOLEV)
    yield gancore.Component("fisher", f"{constraints}:Fisher", "Mean squared critic 1, on both sides", cite=FISHER)
    target = "gancore_sobolevgan.semi_supervised:SemiSupervised"
    yield gancore.Component("semi-supervised", target, "A critic that is a classifier of K + 1 classes", cite=SOBOLEV)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
