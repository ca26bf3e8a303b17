"""Forwards: of generators, of the discriminator over several sides at once, and of the networks beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gancore.contract import Translator
from gancore.engine.parts import Parts
from gancore.engine.values import Values
from gancore.errors import GancoreError
from gancore.plan import DISCRIMINATOR, Forward, PhasePlan


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


def discriminate(parts: Parts, values: Values, forward: Forward) -> None:
    """Send the views of some sides through the discriminator as one batch, and split what comes out."""
    sides = forward.sides
    discriminator = parts.networks[DISCRIMINATOR]
    sizes = [len(values.view[side]) for side in sides]
    x = values.view[sides[0]] if len(sides) == 1 else _joined_views(values, sides, parts.plan.recipe.name)
    label = values.label[sides[0]] if len(sides) == 1 else torch.cat([values.label[side] for side in sides])
    hidden: tuple[list[Tensor], list[Tensor]] = [], []
    with torch.set_grad_enabled(forward.grad), contextlib.ExitStack() as hooks:
        if forward.activations:
            _record(discriminator, hooks, *hidden)
        features = discriminator(x, label) if parts.sees_labels else discriminator(x)
        pieces = dict(zip(sides, features.split(sizes), strict=True))
        for name, wanted in forward.heads.items():
            head = parts.heads[name]
            # What looks at its batch sees one side at a time, as it does in a turn that needs no other.
            if tuple(wanted) == tuple(sides) and not head.batch_statistics:
                outputs = head(features, label).float().split(sizes)
            else:
                outputs = tuple(head(pieces[side], values.label[side]).float() for side in wanted)
            values.head.update({(name, side): output for side, output in zip(wanted, outputs, strict=True)})
    values.features.update({side: piece.float() for side, piece in pieces.items()})
    for number, side in enumerate(sides if forward.activations else ()):
        # A layer that sees the images of a group one by one has several rows a sample.
        rows = [[x.split([size * len(x) // len(features) for size in sizes])[number] for x in layers] for layers in hidden]
        values.preactivations[side], values.activations[side] = rows


def _joined_views(values: Values, sides: Sequence[str], recipe: str) -> Tensor:
    shapes = {tuple(values.view[side].shape[1:]): side for side in reversed(sides)}
    if len(shapes) > 1:
        shown = " and ".join(f"{side} ones of {' x '.join(map(str, shape))}" for shape, side in reversed(shapes.items()))
        raise GancoreError(
            f"{recipe}: the discriminator can't see {shown} in one batch; "
            "leave out the sampler that changes the size of the real images, or choose a generator of that size."
        )
    return torch.cat([values.view[side] for side in sides])


def run_networks(parts: Parts, plan: PhasePlan, values: Values) -> None:
    """Send images through the networks that are no discriminator, as far as terms ask for what comes out."""
    for forward in plan.networks:
        network = parts.networks[forward.network]
        with torch.set_grad_enabled(forward.grad):
            # An attack is on the player alone; what stands beside it sees the images as they are.
            attacked = forward.network == plan.player and forward.side in values.perturbed
            images = (values.perturbed if attacked else values.images)[forward.side]
            if not forward.embedding:
                values.network[forward.network, forward.side] = network(images).float()
                continue
            features = network.embed(images)
            values.embedding[forward.network, forward.side] = features.float()
            values.network[forward.network, forward.side] = network.classify(features).float()


def _record(network: Any, hooks: contextlib.ExitStack, before: list[Tensor], after: list[Tensor]) -> None:
    """Collect the inputs and the outputs of the network's hidden layers, until the hooks go."""

    def take(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        # A layer in place writes over its input.
        before.append(inputs[0].clone() if getattr(layer, "inplace", False) else inputs[0])

    for layer in network.hidden_layers():
        hooks.enter_context(layer.register_forward_pre_hook(take))
        hooks.enter_context(layer.register_forward_hook(lambda _module, _inputs, output: after.append(output)))
