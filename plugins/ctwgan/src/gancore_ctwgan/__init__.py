"""CT-GAN: Improving the Improved Training of Wasserstein GANs (Wei et al. 2018, arXiv:1803.01541): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

PAPER = "arXiv:1803.01541"


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the consistency term, and what it is where the discriminator tells classes."""
    losses = "gancore_ctwgan.losses"
    yield gancore.Component("consistency", f"{losses}:Consistency", "Two dropout passes of real images alike", PAPER)
    yield gancore.Component(
        "class-consistency", f"{losses}:ClassConsistency", "Two dropout passes of real images in the same classes", PAPER
    )
    yield gancore.Component(
        "temporal-ensembling",
        "gancore_ctwgan.ensembling:TemporalEnsembling",
        "Classes of real images near their average over past passes",
        PAPER,
    )


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    """Declare a head with dropout, for discriminators that have none."""
    yield gancore.Component("linear", "gancore_ctwgan.networks:DropoutLinear", "One logit of features under dropout", PAPER)


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare the critics."""
    networks = "gancore_ctwgan.networks"
    yield gancore.Component("critic", f"{networks}:Critic", "Halving convolutions with dropout", PAPER)
    yield gancore.Component("resnet-critic", f"{networks}:ResNetCritic", "Residual blocks with dropout", PAPER)


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    """Declare the score of what a critic has learned by heart."""
    yield gancore.Component("critic-gap", "gancore_ctwgan.critic_gap:CriticGap", "What a critic has learned by heart", PAPER)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
