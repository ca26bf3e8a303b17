"""MGAN, a mixture of generators (Hoang et al. 2018, OpenReview:rkmu5b0a-): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

MGAN = "OpenReview:rkmu5b0a-"


@gancore.hookimpl
def gancore_latents() -> Iterator[gancore.Component]:
    """Declare the latent that makes many generators of one."""
    yield gancore.Component("generators", "gancore_mgan.mixture:Generators", "K generators that share layers", cite=MGAN)


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    """Declare the classifier of generators."""
    yield gancore.Component("classifier", "gancore_mgan.mixture:Classifier", "Which generator made an image", cite=MGAN)


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the loss that keeps generators apart."""
    yield gancore.Component("diversity", "gancore_mgan.mixture:Diversity", "Generators that can be told apart", cite=MGAN)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
