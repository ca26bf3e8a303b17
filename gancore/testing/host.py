"""The plugin that hosts a component under test: tiny components, so that a check takes milliseconds. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from gancore.contract import Component, hookimpl

_HERE = "gancore.testing.components"


@hookimpl
def gancore_loss_terms() -> Iterator[Component]:
    """Yield games of three shapes, and losses of a classifier and of any head."""
    yield Component("non-saturating-game", f"{_HERE}:NonSaturating", "Non-saturating game", "arXiv:1406.2661")
    yield Component("hinge-game", f"{_HERE}:Hinge", "Hinge game", "arXiv:1705.02894")
    yield Component("relativistic-average-game", f"{_HERE}:RelativisticAverage", "Relativistic game", "arXiv:1807.00734")
    yield Component("classifier-loss", f"{_HERE}:CrossEntropy", "Cross entropy of a classifier")
    yield Component("head-loss", f"{_HERE}:LeastSquares", "Least squares of any head")


@hookimpl
def gancore_heads() -> Iterator[Component]:
    """Yield linear heads."""
    yield Component("logit", f"{_HERE}:LinearHead", "One logit")
    yield Component("class-logits", f"{_HERE}:ClassHead", "Class logits")


@hookimpl
def gancore_latents() -> Iterator[Component]:
    """Yield the plainest latents."""
    yield Component("gaussian", f"{_HERE}:Normal", "Standard normal latents, uniform labels")


@hookimpl
def gancore_loops() -> Iterator[Component]:
    """Yield the plainest update rule."""
    yield Component("turns", f"{_HERE}:Turns", "A turn of each player on one batch")


@hookimpl
def gancore_networks() -> Iterator[Component]:
    """Yield networks of a layer or two."""
    yield Component("generator", f"{_HERE}:TinyGenerator", "One linear layer")
    yield Component("discriminator", f"{_HERE}:TinyDiscriminator", "Two linear layers")
    yield Component("classifier", f"{_HERE}:TinyClassifier", "Two linear layers")


@hookimpl
def gancore_attacks() -> Iterator[Component]:
    """Yield an attack of a step."""
    yield Component("ascent", f"{_HERE}:TinyAttack", "A step of gradient ascent")


@hookimpl
def gancore_datasets() -> Iterator[Component]:
    """Yield images of noise."""
    yield Component("noise", f"{_HERE}:Noise", "Images of noise, of four classes")
