"""SD-GAN, the semantically decomposed GAN (Donahue et al., ICLR 2018; arXiv:1705.07904): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

SDGAN = "arXiv:1705.07904"


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare the generator of decomposed latents and the discriminator of whole samples."""
    networks = "gancore_sdgan.networks"
    yield gancore.Component("generator", f"{networks}:PairGenerator", "Images that share an identity", cite=SDGAN)
    yield gancore.Component("discriminator", f"{networks}:SiameseDiscriminator", "Judges images of one identity", cite=SDGAN)


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    """Declare the score of the samples' common identity."""
    yield gancore.Component("same-label", "gancore_sdgan.metrics:SameLabel", "Samples whose images have one label", cite=SDGAN)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
