"""The plugin of the benchmarks: images of noise, and a classifier that needs no weights."""

from __future__ import annotations

from collections.abc import Iterator

import gancore


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    """Yield images of noise."""
    yield gancore.Component("noise", "benchmarks.host_parts:Noise", "Noise of CIFAR-10's size")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Yield an untrained classifier."""
    yield gancore.Component("resnet32", "benchmarks.host_parts:UntrainedResNet32", "ResNet-32 as it is initialised")
