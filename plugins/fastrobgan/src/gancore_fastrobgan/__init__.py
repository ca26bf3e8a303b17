"""RobGAN (arXiv:1807.10454) and Fast-RobGAN (arXiv:2008.03364): adversarial training in the loop of a GAN, a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

ROBGAN = "arXiv:1807.10454"
FAST = "arXiv:2008.03364"
THESIS = "eScholarship:8k57j7z3"
"""Fast-RobGAN as a thesis (Zhong 2020), by whose numbers this package names algorithms, equations and tables."""


@gancore.hookimpl
def gancore_attacks() -> Iterator[gancore.Component]:
    """Declare the attacks."""
    attacks = "gancore_fastrobgan.attacks"
    yield gancore.Component("pgd", f"{attacks}:PGD", "Projected gradient descent", cite="arXiv:1706.06083")
    yield gancore.Component("free", f"{attacks}:Free", "One perturbation for the whole training, free of charge", cite=FAST)
    yield gancore.Component("fgsm", f"{attacks}:FGSM", "Fast gradient sign method", cite="arXiv:1412.6572")
    yield gancore.Component("margin-pgd", f"{attacks}:MarginPGD", "PGD on the margin of logits", cite="arXiv:1608.04644")
    external = "gancore_fastrobgan.external:External"
    yield gancore.Component("external", external, "An attack of foolbox, torchattacks or AutoAttack, where installed")
    yield gancore.Component("deepfool", f"{attacks}:DeepFool", "Nearest decision boundary", cite="arXiv:1511.04599")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the losses."""
    losses = "gancore_fastrobgan.losses"
    yield gancore.Component("split-loss", f"{losses}:SplitLoss", "RobGAN's loss: D does not classify fakes", cite=ROBGAN)
    yield gancore.Component("fast-loss", f"{losses}:FastLoss", "Hinge, classes, and fakes of no class", cite=THESIS)
    yield gancore.Component("fine-tune", f"{losses}:FineTune", "D's class head on real and generated images", cite=ROBGAN)


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    """Declare the update rules."""
    loops = "gancore_fastrobgan.loops"
    yield gancore.Component("free-replay", f"{loops}:FreeReplay", "Each batch M times through the discriminator", cite=FAST)
    yield gancore.Component("fine-tuning", f"{loops}:FineTuning", "The discriminator alone, as a classifier", cite=ROBGAN)


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare RobGAN's networks."""
    networks = "gancore_fastrobgan.networks"
    yield gancore.Component("generator", f"{networks}:RobGANGenerator", "RobGAN's generator", cite=ROBGAN)
    yield gancore.Component("discriminator", f"{networks}:RobGANDiscriminator", "RobGAN's discriminator", cite=ROBGAN)
    yield gancore.Component(
        "plain-discriminator", f"{networks}:PlainDiscriminator", "RobGAN's discriminator without batch norm", cite=ROBGAN
    )
    classifiers = "gancore_fastrobgan.classifiers"
    yield gancore.Component("preact-resnet18", f"{classifiers}:PreActResNet18", "RobGAN's PreActResNet-18", cite=ROBGAN)
    yield gancore.Component("vgg16", f"{classifiers}:VGG16Discriminator", "RobGAN's VGG-16", cite=ROBGAN)


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
