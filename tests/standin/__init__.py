"""Stands in for the plugin `standard`, so that core's tests need no plugin: small components under names that recipes know."""

from __future__ import annotations

from collections.abc import Iterator

import gancore

_HOST = "gancore_testing.components"


def _declared(module: str, **targets: str) -> Iterator[gancore.Component]:
    for name, target in targets.items():
        yield gancore.Component(name.replace("_", "-"), f"{module}:{target}", f"Stands in: {target}", "arXiv:1406.2661")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield from _declared(_HOST, non_saturating="NonSaturating", cross_entropy="CrossEntropy")
    yield from _declared(_HOST, relativistic_average="RelativisticAverage")
    yield from _declared(f"{__name__}.losses", hinge="Hinge", relativistic="Relativistic", wasserstein="Wasserstein")
    yield from _declared(f"{__name__}.losses", minimax="Minimax", least_squares="LeastSquares")
    yield from _declared(f"{__name__}.losses", gradient_penalty="GradientPenalty", auxiliary_classifier="AuxiliaryClassifier")


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield from _declared(_HOST, linear="LinearHead", auxiliary_classifier="ClassHead")
    yield from _declared(f"{__name__}.networks", projection="Projection")


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    yield from _declared(f"{__name__}.data", long_tail="LongTail", per_class="PerClass", take_classes="TakeClasses")
    yield from _declared(f"{__name__}.data", class_balanced="ClassBalanced")


@gancore.hookimpl
def gancore_latents() -> Iterator[gancore.Component]:
    yield from _declared(_HOST, normal="Normal")
    yield from _declared(f"{__name__}.data", uniform="Uniform")


@gancore.hookimpl
def gancore_optimizers() -> Iterator[gancore.Component]:
    yield from _declared(f"{__name__}.optimizers", adam="adam", sgd="sgd")


@gancore.hookimpl
def gancore_schedules() -> Iterator[gancore.Component]:
    yield from _declared(f"{__name__}.optimizers", constant="constant", linear="linear", exponential="exponential")
    yield from _declared(f"{__name__}.optimizers", cosine="cosine", steps="steps")


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    yield from _declared(f"{__name__}.loops", alternating="Alternating", supervised="Supervised")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    yield from _declared(f"{__name__}.networks", small_cnn="SmallCNN", sndcgan_generator="ConvolutionalGenerator")
    yield from _declared(f"{__name__}.networks", sndcgan_discriminator="SpectralDiscriminator")
    yield from _declared(f"{__name__}.networks", dcgan_generator="NormedGenerator", dcgan_discriminator="NormedDiscriminator")


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    yield from _declared(f"{__name__}.data", digits="Digits")


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    yield from _declared(f"{__name__}.metrics", class_histogram="ClassHistogram", fid="MeanDistance", kid="MeanDistance")
    yield from _declared(f"{__name__}.metrics", prdc="NeighborDistance")


@gancore.hookimpl
def gancore_image_formats() -> Iterator[gancore.Component]:
    yield from _declared(f"{__name__}.image_format", png="write")
