"""AM-GAN and what it is compared with (Zhou et al. 2018, arXiv:1703.02000): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

AMGAN = "arXiv:1703.02000"


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    """Declare the head of K + 1 classes."""
    yield gancore.Component(
        "extended", "gancore_amgan.heads:Extended", "Logits of K classes and of generated images", cite=AMGAN
    )


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the games of the paper's tables."""
    losses = "gancore_amgan.losses"
    yield gancore.Component("am-gan", f"{losses}:AMGAN", "K + 1 classes; G raises the likeliest of the K", cite=AMGAN)
    yield gancore.Component("am-gan-predefined", f"{losses}:Predefined", "K + 1 classes; G raises its label's", cite=AMGAN)
    yield gancore.Component("labelgan", f"{losses}:LabelGAN", "K + 1 classes; G raises all K", cite="arXiv:1606.03498")
    yield gancore.Component("catgan", f"{losses}:CatGAN", "K classes; D is sure of real images alone", cite="arXiv:1511.06390")
    yield gancore.Component("auxiliary", f"{losses}:Auxiliary", "AC-GAN*'s classes, with dynamic labels", cite=AMGAN)
    yield gancore.Component("uniform", f"{losses}:Uniform", "AC-GAN*+: D finds no class in generated images", cite=AMGAN)


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    """Declare the score."""
    yield gancore.Component("am-score", "gancore_amgan.score:AMScore", "AM score", cite=AMGAN)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
