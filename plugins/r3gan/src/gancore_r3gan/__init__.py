"""R3GAN, a modern baseline (Huang et al. 2024, arXiv:2501.05441): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

R3GAN = "arXiv:2501.05441"


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the penalties; the game itself is ``standard/relativistic``."""
    yield gancore.Component("penalty", "gancore_r3gan.penalty:Penalty", "R1 and R2 gradient penalties", cite=R3GAN)


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare the networks."""
    networks = "gancore_r3gan.networks"
    yield gancore.Component("generator", f"{networks}:R3Generator", "ResNeXt generator without normalization", cite=R3GAN)
    yield gancore.Component("discriminator", f"{networks}:R3Discriminator", "The generator's mirror image", cite=R3GAN)


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    """Declare the head of conditional training; without labels it is ``standard/linear``."""
    yield gancore.Component("inner-product", "gancore_r3gan.networks:InnerProduct", "One logit, given the label", cite=R3GAN)


@gancore.hookimpl
def gancore_schedules() -> Iterator[gancore.Component]:
    """Declare the schedules of the burn-in."""
    schedules = "gancore_r3gan.schedules"
    yield gancore.Component("burn-in", f"{schedules}:burn_in", "Half a cosine from 1 to another value", cite=R3GAN)
    yield gancore.Component("half-life", f"{schedules}:half_life", "A moving average whose half-life grows", cite=R3GAN)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
