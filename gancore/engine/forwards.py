"""What is common to forwards, in a training step and outside of one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gancore.contract import Translator
from gancore.errors import GancoreError


def generate(network: nn.Module, z: Tensor, label: Tensor | None, images: Tensor | None) -> Tensor:
    """Return a generator's images; one that translates makes them out of `images`."""
    generated: Tensor = network(z, label, images=images) if isinstance(network, Translator) else network(z, label)
    return generated


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Have a module in evaluation mode, and nothing differentiated, until the block ends."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def finite(what: str, *tensors: Tensor) -> None:
    """Refuse tensors that hold a value that is not finite: as 8-bit pixels or as a class it would look sound.

    Raises:
        GancoreError: One does, with `what` as the subject of the sentence.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise GancoreError(
            f"{what} is not finite: the training has diverged. Go back to an earlier checkpoint, and lower a learning rate "
            "or a weight, or set run.precision to float32."
        )


def as_images(features: Tensor) -> Tensor:
    """Return features (N, F) as float32 images (N, F, 1, 1), for a discriminator that stands on them."""
    return features.float()[:, :, None, None]


def check_sizes(views: Mapping[str, Tensor], recipe: str) -> None:
    """Refuse views of several sides that are of several sizes, and so fit in no batch."""
    shapes = {tuple(view.shape[1:]): side for side, view in views.items()}
    if len(shapes) > 1:
        shown = " and ".join(f"{side} ones of {' x '.join(map(str, shape))}" for shape, side in shapes.items())
        raise GancoreError(
            f"{recipe}: the discriminator can't see {shown} in one batch; "
            "leave out the sampler that changes the size of the real images, or choose a generator of that size."
        )


@contextlib.contextmanager
def recorded(network: Any, before: list[Tensor], after: list[Tensor]) -> Iterator[None]:
    """Collect the inputs and the outputs of a network's hidden layers, until the block ends."""

    def take(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # A layer in place writes over its input.
        before.append(inputs[0].clone() if getattr(layer, "inplace", False) else inputs[0])

    with contextlib.ExitStack() as hooks:
        for layer in network.hidden_layers():
            hooks.enter_context(layer.register_forward_pre_hook(take))
            hooks.enter_context(layer.register_forward_hook(lambda _module, _inputs, output: after.append(output)))
        yield
