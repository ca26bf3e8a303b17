"""Improved Techniques for Training GANs (Salimans et al. 2016, arXiv:1606.03498): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

PAPER = "arXiv:1606.03498"


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the losses of sections 3.1, 3.3 and 5."""
    losses = "gancore_improvedgan.losses"
    yield gancore.Component("feature-matching", f"{losses}:FeatureMatching", "Equal mean features of the discriminator", PAPER)
    yield gancore.Component("historical-averaging", f"{losses}:HistoricalAveraging", "Parameters near their past mean", PAPER)
    yield gancore.Component("semi-supervised", f"{losses}:SemiSupervised", "A discriminator with K + 1 classes", PAPER)


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    """Declare the heads of minibatch discrimination, section 3.2."""
    heads = "gancore_improvedgan.heads"
    yield gancore.Component("minibatch", f"{heads}:Minibatch", "One logit that compares the images of a batch", PAPER)
    yield gancore.Component("minibatch-classes", f"{heads}:MinibatchClasses", "Class logits that compare the images", PAPER)


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare the discriminators of the experiments, and networks with virtual batch norm, section 3.5."""
    yield gancore.Component(
        "mnist-discriminator", "gancore_improvedgan.networks:MnistDiscriminator", "Fully connected, with Gaussian noise", PAPER
    )
    yield gancore.Component(
        "conv-discriminator", "gancore_improvedgan.networks:ConvDiscriminator", "For CIFAR-10 and SVHN, with dropout", PAPER
    )
    virtual = "gancore_improvedgan.virtual_batch_norm"
    yield gancore.Component("vbn-generator", f"{virtual}:VirtualGenerator", "DCGAN generator, virtual batch norm", PAPER)
    yield gancore.Component(
        "vbn-discriminator", f"{virtual}:VirtualDiscriminator", "DCGAN discriminator, virtual batch norm", PAPER
    )


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
