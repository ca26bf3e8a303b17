"""Data-free universal adversarial perturbations with a class-balanced GAN prior (OpenReview:yEnaS6yOkxy, section 4.3).

A gancore plugin.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

CBGAN = "OpenReview:yEnaS6yOkxy"
GAP = "arXiv:1712.02328"


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the losses of the prior and of the perturbation."""
    losses = "gancore_uap.losses"
    target = f"{losses}:ActivationMaximization"
    yield gancore.Component("activation-maximization", target, "Each generated image confidently classified", cite=CBGAN)
    yield gancore.Component("fooling", f"{losses}:Fooling", "A classifier fooled by perturbed images", cite=GAP)


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    """Declare the update rule of a perturbation."""
    yield gancore.Component("crafting", "gancore_uap.loops:Crafting", "Train a perturbation against frozen classifiers")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare perturbations, and classifiers of torchvision as victims."""
    perturbations = "gancore_uap.perturbations"
    yield gancore.Component("gap", f"{perturbations}:GAP", "A perturbation made by a ResNet from fixed noise", cite=GAP)
    yield gancore.Component("direct", f"{perturbations}:Direct", "A perturbation whose pixels are trained")
    victims = "gancore_uap.torchvision_victims"
    own, pretrained = f"{victims}:TorchvisionClassifier", f"{victims}:PretrainedClassifier"
    yield gancore.Component("torchvision", own, "torchvision's classifiers, of a weights file", group="files")
    summary = "torchvision's classifiers, with torchvision's weights"
    yield gancore.Component("torchvision-pretrained", pretrained, summary, group="download")


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    """Declare the arbitrary prior that needs no download, and the proxy set."""
    yield gancore.Component("shapes", "gancore_uap.shapes:Shapes", "Flat shapes with outlines, drawn at random")
    yield gancore.Component("proxy", "gancore_uap.proxy:ProxySet", "Generated images of `gancore uap prior`", cite=CBGAN)


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    """Declare what a prior GAN is scored by."""
    target = "gancore_uap.prior_scores:FoolingRate"
    yield gancore.Component("fooling-rate", target, "What a perturbation crafted on a prior's images fools", cite=CBGAN)


@gancore.hookimpl
def gancore_commands() -> Iterator[gancore.Component]:
    """Declare the command group."""
    summary = "Universal perturbations without the target's data"
    yield gancore.Component("uap", "gancore_uap.commands:group", summary, group="Methods")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
