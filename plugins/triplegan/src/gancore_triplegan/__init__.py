"""Triple GAN (Li et al., NIPS 2017, arXiv:1703.02291): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

TRIPLEGAN = "arXiv:1703.02291"


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    """Declare the update rule, which labels images by the classifier."""
    target = "gancore_triplegan.loops:ThreePlayers"
    yield gancore.Component("three-players", target, "Discriminator of pairs, generator, classifier", cite=TRIPLEGAN)


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the game of the three, and what the classifier's loss has beside it."""
    losses = "gancore_triplegan.losses"
    yield gancore.Component("pairs", f"{losses}:Pairs", "Which pairs of image and label are the data's?", cite=TRIPLEGAN)
    yield gancore.Component("confidence", f"{losses}:Confidence", "Sure of each image, of all classes alike", cite=TRIPLEGAN)
    yield gancore.Component("consistency", f"{losses}:Consistency", "Two passes of an image agree", cite="arXiv:1610.02242")


@gancore.hookimpl
def gancore_schedules() -> Iterator[gancore.Component]:
    """Declare how the consistency's weight begins."""
    yield gancore.Component("rise", "gancore_triplegan.schedules:rise", "A Gaussian's rise to 1", cite="arXiv:1610.02242")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare the networks, most of which take the label beside the input of each layer."""
    networks = "gancore_triplegan.networks"
    for name, target, summary in (
        ("mlp-generator", "MLPGenerator", "Generator for MNIST, given the label at each layer"),
        ("mlp-discriminator", "MLPDiscriminator", "Discriminator of pairs for MNIST"),
        ("mnist-classifier", "MnistClassifier", "Classifier for MNIST"),
        ("conv-generator", "ConvGenerator", "Generator for SVHN and CIFAR-10, given the label at each layer"),
        ("conv-discriminator", "ConvDiscriminator", "Discriminator of pairs for SVHN and CIFAR-10"),
        ("conv-classifier", "ConvClassifier", "Classifier for SVHN and CIFAR-10"),
    ):
        yield gancore.Component(name, f"{networks}:{target}", summary, cite=TRIPLEGAN)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
