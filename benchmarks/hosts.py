"""The plugin of the benchmarks: images of noise and of blobs, and networks that need no weights."""

from __future__ import annotations

from collections.abc import Iterator

import gancore


@gancore.hookimpl
def gancore_datasets() -> Iterator[gancore.Component]:
    """Yield images of noise."""
    yield gancore.Component("noise", "benchmarks.host_parts:Noise", "Noise of CIFAR-10's size")
    yield gancore.Component("blobs", "benchmarks.host_parts:Blobs", "Smooth noise, as many images as wanted")


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    """Yield an untrained classifier, and a generator whose images are known."""
    yield gancore.Component("resnet32", "benchmarks.host_parts:UntrainedResNet32", "ResNet-32 as it is initialized")
    yield gancore.Component("replay", "benchmarks.host_parts:Replay", "Generator that gives prepared images, in turn")
