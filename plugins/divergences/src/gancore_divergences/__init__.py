"""Divergences proposed for training as scores (Im et al. 2018, arXiv:1803.01045): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

IM = "arXiv:1803.01045"


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    """Declare the score."""
    target = "gancore_divergences.score:Divergences"
    yield gancore.Component("divergences", target, "Divergences by critics that learn anew (GC, LS, IW, MMD)", cite=IM)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
