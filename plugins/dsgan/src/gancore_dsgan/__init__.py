"""DSGAN, the difference-seeking GAN (ICLR 2019 submission; arXiv:1912.12402): a gancore plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gancore

GANCORE_API = 1

DSGAN = "arXiv:1912.12402"


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    """Declare the sampler that makes a GAN seek a difference."""
    target = "gancore_dsgan.samplers:Difference"
    yield gancore.Component("difference", target, "Real is a wide distribution, and data to avoid are fake", cite=DSGAN)
    yield gancore.Component("wide", "gancore_dsgan.samplers:Wide", "Real images made wide, for Eq. 2's weights", cite=DSGAN)
    yield gancore.Component("noise", "gancore_dsgan.samplers:Noise", "Real images with normal or uniform noise")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    """Declare the losses of the two applications."""
    losses = "gancore_dsgan.losses"
    yield gancore.Component("semi-supervised", f"{losses}:SemiSupervised", "A classifier with K + 1 classes", cite=DSGAN)
    yield gancore.Component("pull-away", f"{losses}:PullAway", "Generated features unlike each other", cite="arXiv:1609.03126")
    bound = "gancore_dsgan.variational:VariationalEntropy"
    yield gancore.Component("variational-entropy", bound, "Latents that images tell apart", cite="arXiv:1705.09783")
    yield gancore.Component("feature-matching", f"{losses}:FeatureMatching", "Equal mean features", cite="arXiv:1606.03498")
    yield gancore.Component("confidence", f"{losses}:Confidence", "Generated images confidently classified", cite=DSGAN)


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    """Declare the update rule of semi-supervised learning."""
    loop = "gancore_dsgan.loops:SemiSupervised"
    yield gancore.Component("semi-supervised", loop, "Critic and generator, then the classifier", cite=DSGAN)


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Declare the networks of Tables 4 to 7."""
    networks = "gancore_dsgan.networks"
    for name, target, summary in (
        ("mnist-generator", "MnistGenerator", "Generator of Table 4"),
        ("mnist-classifier", "MnistClassifier", "Classifier of Table 4, with Gaussian noise"),
        ("feature-critic", "FeatureCritic", "Discriminator of Tables 4 and 5, on features"),
        ("conv-generator", "ConvGenerator", "Generator of Table 5"),
        ("conv-classifier", "ConvClassifier", "Classifier of Table 6, for SVHN and CIFAR-10"),
        ("plain-classifier", "PlainClassifier", "Classifier of Table 7, for adversarial training"),
    ):
        yield gancore.Component(name, f"{networks}:{target}", summary, cite=DSGAN)


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    """Declare points in the plane."""
    sets = "gancore_dsgan.datasets"
    yield gancore.Component("swiss-roll", f"{sets}:SwissRoll", "Points along a spiral")
    yield gancore.Component("disc", f"{sets}:Disc", "Points in a disc whose center is sparse, or dense")
    yield gancore.Component("rings", f"{sets}:Rings", "Points on concentric rings, a class each")


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    """Declare the scores of the case studies, and of semi-supervised learning."""
    yield gancore.Component("low-density", "gancore_dsgan.low_density:LowDensity", "Fraction of samples where data are rare")
    yield gancore.Component("novelty", "gancore_dsgan.novelty:Novelty", "A detector of unseen classes, by its AUROC")
    summary = "Generated images as far from the data as noisy ones"
    yield gancore.Component("nearest", "gancore_dsgan.nearest:Nearest", summary, cite=DSGAN)
    scores = "gancore_dsgan.semi_scores"
    yield gancore.Component("complement", f"{scores}:Complement", "Shares on either side of Eq. 7's assumption", cite=DSGAN)
    yield gancore.Component("averaged-accuracy", f"{scores}:AveragedAccuracy", "Accuracy of a classifier's averaged weights")


@gancore.hookimpl
def gancore_commands() -> Iterator[gancore.Component]:
    """Declare the command that draws a discriminator over the plane."""
    summary = "Draw data, samples and discriminator of a run in 2-D"
    yield gancore.Component("field", "gancore_dsgan.field:command", summary, group="What a run holds")


@gancore.hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Say where the recipes lie."""
    yield Path(__file__).with_name("recipes")
