"""Defense-GAN: protecting classifiers by a generator (Samangouei, Kabkab, Chellappa, ICLR 2018): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

DEFENSEGAN = "arXiv:1805.06605"


@gancore.hookimpl
def gancore_defenses() -> Iterator[gancore.Component]:
    """Declare the defense."""
    target = "gancore_defensegan.defense:Reconstruction"
    yield gancore.Component("reconstruction", target, "The nearest image that a generator makes", cite=DEFENSEGAN)


@gancore.hookimpl
def gancore_attacks() -> Iterator[gancore.Component]:
    """Declare the attack by one who sees decisions alone."""
    target = "gancore_defensegan.black_box:BlackBox"
    yield gancore.Component("black-box", target, "FGSM on a substitute that learns from decisions", cite="arXiv:1602.02697")


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    """Declare the training on reconstructions."""
    target = "gancore_defensegan.loop:Reconstructed"
    yield gancore.Component("reconstructed", target, "Train a classifier on reconstructions", cite=DEFENSEGAN)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
