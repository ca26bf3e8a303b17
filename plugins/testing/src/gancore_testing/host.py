"""The plugin that hosts a component under test: tiny components, so that a check takes milliseconds. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator

from gancore import Component, hookimpl


def _declared(**targets: str) -> Iterator[Component]:
    for name, target in targets.items():
        yield Component(name.replace("_", "-"), f"gancore_testing.components:{target}", f"For hosts: {target}")


@hookimpl
def gancore_loss_terms() -> Iterator[Component]:
    """Yield games of three shapes, and losses of a classifier and of any head."""
    yield from _declared(
        non_saturating_game="NonSaturating", hinge_game="Hinge", relativistic_average_game="RelativisticAverage"
    )
    yield from _declared(classifier_loss="CrossEntropy", head_loss="LeastSquares")


@hookimpl
def gancore_heads() -> Iterator[Component]:
    """Yield linear heads."""
    yield from _declared(logit="LinearHead", class_logits="ClassHead")


@hookimpl
def gancore_latents() -> Iterator[Component]:
    """Yield the plainest latents."""
    yield from _declared(gaussian="Normal")


@hookimpl
def gancore_loops() -> Iterator[Component]:
    """Yield the plainest update rule."""
    yield from _declared(turns="Turns")


@hookimpl
def gancore_networks() -> Iterator[Component]:
    """Yield networks of a layer or two."""
    yield from _declared(generator="TinyGenerator", discriminator="TinyDiscriminator", classifier="TinyClassifier")


@hookimpl
def gancore_attacks() -> Iterator[Component]:
    """Yield an attack of a step."""
    yield from _declared(ascent="TinyAttack")


@hookimpl
def gancore_datasets() -> Iterator[Component]:
    """Yield images of noise."""
    yield from _declared(noise="Noise")
