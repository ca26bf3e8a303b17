"""Forwards of networks, as a phase and an evaluation need them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from gancore.contract import Translator


def generate(network: nn.Module, z: Tensor, label: Tensor | None, images: Tensor | None) -> Tensor:
    """Return a generator's images; one that translates makes them out of `images`."""
    made: Tensor = network(z, label, images=images) if isinstance(network, Translator) else network(z, label)
    return made


def as_images(features: Tensor) -> Tensor:
    """Return features (N, F) as float32 images (N, F, 1, 1), for a discriminator that stands on them."""
    return features.float()[:, :, None, None]


@contextlib.contextmanager
def recorded(network: nn.Module, wanted: bool) -> Iterator[list[Tensor]]:
    """Collect the outputs of the network's hidden layers."""
    hidden: list[Tensor] = []
    if not wanted:
        yield hidden
        return
    hooks = [
        layer.register_forward_hook(lambda _module, _inputs, output: hidden.append(output))
        for layer in network.hidden_layers()  # type: ignore[operator]
    ]
    try:
        yield hidden
    finally:
        for hook in hooks:
            hook.remove()
