"""What is asked of networks and heads by themselves: shapes, ranges, and rows that do not depend on each other."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gancore import Classifier, Discriminator, Generator
from gancore.tools import Registry, Run
from gancore_testing.hosting import LABEL, Table, build_host

NUMBER = 6
"""Images that a check takes."""

TOLERANCE = 1e-4
"""How far rows may come apart, in units of the largest value: another order of sums is no dependence on the batch."""

Rows = Callable[[slice], Tensor]
"""What some rows of a batch give."""


def shapes(role: str, table: Table, registry: Registry) -> None:
    """A network gives what its base class says, in shape, type and range."""
    run = build_host(table, registry)
    network, images = run.networks[role], _images(run)
    if isinstance(network, Generator):
        _generates(run, network, images)
    elif isinstance(network, Discriminator):
        _is("forward", _forward(run, network, images)(slice(NUMBER)), (NUMBER, network.features))
        layers = network.hidden_layers()
        assert all(isinstance(layer, nn.Module) for layer in layers), f"hidden_layers gives {layers}, not modules"
    else:
        assert isinstance(network, Classifier)
        features = network.embed(images)
        _is("embed", features, (NUMBER, network.features))
        _is("classify", network.classify(features), (NUMBER, network.classes))
        assert network.classes == run.plan.info.classes, (
            f"it has {network.classes} classes, and the data {run.plan.info.classes}"
        )


def _generates(run: Run, network: Any, images: Tensor) -> None:
    latent_dim = run.recipe.run.latent_dim
    assert network.latent_dim == latent_dim, f"its latent_dim is {network.latent_dim}, and the recipe's {latent_dim}"
    made = _forward(run, network, images)(slice(NUMBER))
    _is("forward", made, images.shape)
    assert float(made.detach().abs().max()) <= 1 + TOLERANCE, "its images lie outside of [-1, 1]"


def _is(method: str, value: Tensor, shape: tuple[int, ...]) -> None:
    assert tuple(value.shape) == tuple(shape), f"{method} gives the shape {tuple(value.shape)}, not {tuple(shape)}"
    assert value.is_floating_point(), f"{method} gives {value.dtype}"
    assert value.isfinite().all(), f"{method} gives what is not finite"


def rows_in_training(role: str, table: Table, registry: Registry) -> None:
    """What a discriminator says of an image in training depends on no other image, unless it declares batch statistics."""
    run = build_host(table, registry)
    network = run.networks[role]
    _rows(network, _forward(run, network, _images(run)), training=True)


def rows_in_evaluation(role: str, table: Table, registry: Registry) -> None:
    """What a network gives for a row in evaluation depends on no other row: samples and scores come in batches of any size."""
    run = build_host(table, registry)
    network = run.networks[role]
    _rows(network, _forward(run, network, _images(run)), training=False)


def rows_of_head(table: Table, registry: Registry) -> None:
    """What a head says of an image depends on no other image, unless it declares batch statistics."""
    run = build_host(table, registry)
    head, noise = run.heads[LABEL], torch.Generator().manual_seed(0)
    features = torch.randn(NUMBER, run.networks["discriminator"].features, generator=noise)
    labels = torch.arange(NUMBER) % run.plan.info.classes
    _rows(head, lambda rows: head(features[rows], labels[rows]), training=True)


def head_gives(table: Table, registry: Registry) -> None:
    """A head gives a row for each image, and one of class logits as many as there are classes."""
    run = build_host(table, registry)
    head = run.heads[LABEL]
    output = head(torch.randn(NUMBER, run.networks["discriminator"].features), torch.arange(NUMBER) % run.plan.info.classes)
    classes = (run.plan.info.classes,) if head.gives_classes else output.shape[1:]
    _is("forward", output, (NUMBER, *classes))


def _rows(module: nn.Module, forward: Rows, *, training: bool) -> None:
    """Compare what a module gives for two halves with what it gives for both at once, each from one and the same state."""
    module.train(training)
    for layer in module.modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            layer.eval()
    start = copy.deepcopy(module.state_dict())

    @torch.no_grad()
    def given(rows: slice, seed: int = 0) -> Tensor:
        # Power iterations and running statistics move with each forward.
        module.load_state_dict(start)
        torch.manual_seed(seed)
        return forward(rows)

    with torch.random.fork_rng(devices=[]):
        whole = given(slice(NUMBER))
        if not torch.equal(whole, given(slice(NUMBER), 1)):
            return  # it draws noise, which falls otherwise on other batches
        halves = torch.cat([given(slice(NUMBER // 2)), given(slice(NUMBER // 2, NUMBER))])
    apart = float((whole - halves).abs().max()) / max(float(whole.abs().max()), 1e-6)
    remedy = "; declare batch_statistics = True" if training else ""
    assert apart <= TOLERANCE, f"a row depends on the others of its batch (by {apart:.1g} of the largest value){remedy}"


def _images(run: Run) -> Tensor:
    shape = (NUMBER, run.plan.info.channels, run.plan.info.image_size, run.plan.info.image_size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _forward(run: Run, network: Any, images: Tensor) -> Rows:
    """Return what a network gives for rows of a batch, as core asks for it."""
    if isinstance(network, Discriminator) and "label" in inspect.signature(network.forward).parameters:
        labels = torch.arange(NUMBER) % run.plan.info.classes
        return lambda rows: network(images[rows], labels[rows])
    if not isinstance(network, Generator):
        return lambda rows: network(images[rows])
    latents = run.latent(NUMBER, "conformance")

    def generated(rows: slice) -> Tensor:
        more = {"images": images[rows]} if hasattr(network, "translate") else {}
        made: Tensor = network(latents.z[rows], latents.label[rows], **more)
        return made

    return generated
