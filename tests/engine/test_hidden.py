"""What a term sees of the discriminator's hidden layers, before and after the nonlinearity."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gancore
from gancore.engine.run import Run
from gancore.registry import Registry
from gancore.testing import host
from tests import hosts, probe, standin
from tests.hosts import CPU

# -- the plugin of this module -----------------------------------------------------------------------------------------


class Layered(gancore.Discriminator):
    """Two hidden layers with ReLU, in place or not, or with another choice of which count as hidden; of groups, the mean."""

    groups = True

    def __init__(self, *, channels: int, image_size: int, inplace: bool = False, linear: bool = False) -> None:
        super().__init__()
        self.features, self.linear = 16, linear
        self.one, self.two = nn.Linear(channels * image_size**2, 16), nn.Linear(16, 16)
        self.relus = nn.ModuleList(nn.ReLU(inplace) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, -4) if x.ndim == 5 else x
        features: Tensor = self.relus[1](self.two(self.relus[0](self.one(rows.flatten(1)))))
        return features.view(len(x), -1, 16).mean(1)

    def hidden_layers(self) -> Sequence[nn.Module]:
        return [self.two] if self.linear else super().hidden_layers()


SEEN: dict[str, list[Tensor]] = {}
"""What `Binarized` was given last."""


class Binarized(gancore.LossTerm):
    """Mean agreement of the signs of hidden units between the images of a batch (after Cao et al. 2018, section 3)."""

    def discriminator(
        self,
        *,
        fake_preactivations: list[Tensor],
        fake_activations: list[Tensor],
        real_preactivations: list[Tensor],
        real_activations: list[Tensor],
    ) -> Tensor:
        SEEN.update(fake=fake_preactivations, after=fake_activations, real=real_preactivations, real_after=real_activations)
        return agreement(fake_preactivations[-1])


def agreement(hidden: Tensor) -> Tensor:
    signs = hidden / (hidden.abs() + 1e-3)
    return (signs @ signs.T / signs.shape[1]).square().mean()


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    yield gancore.Component("layered", f"{__name__}:Layered", "Layered")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield gancore.Component("binarized", f"{__name__}:Binarized", "Binarized")


REGISTRY = Registry.of({"standard": standin, "probe": probe, "host": host, "hidden": sys.modules[__name__]})


def run_of(*tables: dict[str, Any], **settings: Any) -> Run:
    table = {
        "networks": {"discriminator": {"use": "hidden/layered", **settings}},
        "losses": {"signs": {"use": "hidden/binarized"}},
    }
    return Run(hosts.plan_of(table, *tables, plugins=REGISTRY), CPU)


def turn(run: Run) -> tuple[Any, Tensor, Tensor]:
    """Take D's turn; return D as it was before, and the images that it saw."""
    batch = run.fresh()
    discriminator = run.networks["discriminator"]
    weights = {name: value.clone() for name, value in discriminator.state_dict().items()}
    with torch.no_grad():
        fake = run.networks["generator"](batch.z, batch.fake_label)
    run.phase("discriminator", batch)
    discriminator.load_state_dict(weights)
    return discriminator, batch.real, fake


@pytest.mark.parametrize("inplace", [False, True])
def test_preactivations_are_what_goes_into_the_nonlinearity(inplace: bool) -> None:
    discriminator, real, fake = turn(run_of(inplace=inplace))
    for side, images in (("real", real), ("fake", fake)):
        first = discriminator.one(images.flatten(1))
        second = discriminator.two(first.relu())
        for seen, expected in zip(SEEN[side], (first, second), strict=True):
            torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-6)
        after = SEEN["after" if side == "fake" else "real_after"]
        for seen, expected in zip(after, (first.relu(), second.relu()), strict=True):
            torch.testing.assert_close(seen, expected, rtol=1e-5, atol=1e-6)
    assert any(bool((hidden < 0).any()) for hidden in SEEN["fake"])


@pytest.mark.parametrize("inplace", [False, True])
def test_the_gradient_of_preactivations_reaches_d_and_in_place_layers_change_none(inplace: bool) -> None:
    run = run_of(inplace=inplace)
    run.phase("discriminator", run.fresh())
    other = run_of(inplace=not inplace)
    other.phase("discriminator", other.fresh())
    for mine, theirs in zip(run.players["discriminator"].parameters, other.players["discriminator"].parameters, strict=True):
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_the_author_says_which_layers_are_hidden() -> None:
    discriminator, _, fake = turn(run_of(linear=True))
    hidden = discriminator.one(fake.flatten(1)).relu()
    (before,), (after,) = SEEN["fake"], SEEN["after"]
    torch.testing.assert_close(before, hidden, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(after, discriminator.two(hidden), rtol=1e-5, atol=1e-6)


def test_a_layer_that_sees_the_images_of_a_group_one_by_one_has_rows_for_each() -> None:
    groups = {"use": "probe/groups", "size": 3}
    run = run_of({"samplers": {"groups": groups}, "networks": {"generator": {"use": "probe/group-generator"}}})
    discriminator, real, fake = turn(run)
    for side, images in (("real", real), ("fake", fake)):
        assert images.shape[:2] == (16, 3)
        first = discriminator.one(images.flatten(0, 1).flatten(1))
        torch.testing.assert_close(SEEN[side][0], first, rtol=1e-5, atol=1e-6)


def test_a_collapse_shows_in_the_signs_before_relu_and_hardly_after_it() -> None:
    """Collapsed codes agree wholly; those after ReLU agree almost as much where the images differ, for no sign is below 0."""
    noise = torch.Generator().manual_seed(0)
    spread = torch.randn(64, 256, generator=noise)
    collapsed = spread[:1] + 0.01 * torch.randn(64, 256, generator=noise)
    before = agreement(collapsed).item() / agreement(spread).item()
    after = agreement(collapsed.relu()).item() / agreement(spread.relu()).item()
    assert before > 5 * after
