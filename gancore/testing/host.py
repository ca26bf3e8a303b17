"""The plugin that hosts a component under test: tiny networks and images, so that a check takes milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

from gancore.contract import Component, hookimpl

PARTS = "gancore.testing.parts"


@hookimpl
def gancore_networks() -> Iterator[Component]:
    """Yield networks of a layer or two."""
    yield Component("generator", f"{PARTS}:TinyGenerator", "One linear layer")
    yield Component("discriminator", f"{PARTS}:TinyDiscriminator", "Two linear layers")
    yield Component("classifier", f"{PARTS}:TinyClassifier", "Two linear layers")


@hookimpl
def gancore_attacks() -> Iterator[Component]:
    """Yield an attack of a step."""
    yield Component("ascent", f"{PARTS}:TinyAttack", "A step of gradient ascent")


@hookimpl
def gancore_datasets() -> Iterator[Component]:
    """Yield images of noise."""
    yield Component("noise", f"{PARTS}:Noise", "Images of noise, of four classes")
