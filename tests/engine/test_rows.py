"""Which rows each component sees: what looks at its batch gets the rows of one side, whole, in every turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gancore
from gancore import GancoreError
from gancore.engine.run import Run
from gancore.recipe import Registry
from gancore.testing import host
from tests import hosts, probe, standin
from tests.hosts import CPU

# -- the plugin of this module -----------------------------------------------------------------------------------------

ROWS: dict[str, list[Tensor]] = {}
"""What each part of this module was given, call by call."""


class MinibatchDeviation(gancore.Head):
    """One logit of the features and of their mean standard deviation over the batch (Karras et al. 2018, section 3)."""

    batch_statistics = True

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features + 1, 1)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        ROWS.setdefault("head", []).append(features.detach())
        deviation = features.std(0, correction=0).mean().expand(len(features), 1)
        logits: Tensor = self.linear(torch.cat([features, deviation], 1)).squeeze(1)
        return logits


class Silent(gancore.Head):
    """Has batch norm and does not say so."""

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, 1))

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.layers(features).squeeze(1)
        return logits


def _declared(**targets: str) -> Iterator[gancore.Component]:
    for name, target in targets.items():
        yield gancore.Component(name, f"{__name__}:{target}", target)


@gancore.hookimpl
def gancore_heads() -> Iterator[gancore.Component]:
    yield from _declared(deviation="MinibatchDeviation", silent="Silent")


REGISTRY = Registry.of({"standard": standin, "probe": probe, "host": host, "rows": sys.modules[__name__]})

DEVIATION: dict[str, Any] = {"heads": {"adversarial": {"use": "rows/deviation"}}}
JOINED: dict[str, Any] = {"samplers": {"difference": {"use": "probe/difference"}}}
PENALTY: dict[str, Any] = {"losses": {"penalty": {"use": "standard/gradient-penalty"}}}
NORMED: dict[str, Any] = {"networks": {"discriminator": {"use": "standard/dcgan-discriminator", "width": 0.125}}}


def run_of(*tables: dict[str, Any]) -> Run:
    ROWS.clear()
    return Run(hosts.plan_of(*tables, plugins=REGISTRY), CPU)


def backbone(run: Run) -> list[int]:
    """Return a list to which the numbers of images will be added that D's backbone sees at once."""
    numbers: list[int] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _m, inputs: numbers.append(len(inputs[0])))
    return numbers


# -- generators ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", ["probe/tiny-generator", "standard/dcgan-generator"])
def test_a_generator_is_given_the_same_rows_in_each_turn_whatever_is_joined(generator: str) -> None:
    """Of what it makes of a whole batch, the discriminator sees as many images as the joined ones leave room for."""
    run = run_of(JOINED, {"networks": {"generator": {"use": generator}}})
    network, batch = run.networks["generator"], run.fresh()
    latents = batch.z
    assert latents is not None
    rows: list[Tensor] = []
    network.register_forward_pre_hook(lambda _m, inputs: rows.append(inputs[0]))
    with torch.no_grad():
        images = network(latents, batch.fake_label)
    views: list[Tensor] = []
    run.networks["discriminator"].register_forward_pre_hook(lambda _m, inputs: views.append(inputs[0].detach()))
    run.phase("discriminator", batch)
    run.phase("generator", batch)
    assert [torch.equal(z, latents) for z in rows] == [True, True, True]
    assert torch.equal(views[0][16:28], images[:12])
    assert torch.equal(views[0][28:], batch.joined["fake"][0])


@pytest.mark.parametrize("size", [1, 2])
def test_a_batch_that_batch_norm_can_not_have_is_refused_in_a_sentence(size: int) -> None:
    run = run_of({"run": {"batch_size": size}, "heads": {"adversarial": {"use": "probe/normed"}}})
    if size > 1:
        hosts.steps(run, 1)
        return
    with pytest.raises(GancoreError, match=r"test: batch norm needs more than one value .* run.batch_size = 1 .* raise it\.$"):
        run.step()


def test_an_error_of_a_component_that_is_no_matter_of_the_batch_is_left_as_it_is() -> None:
    run = run_of()
    run.networks["generator"].forward = lambda *_: [][1]
    with pytest.raises(IndexError):
        run.step()
    run.networks["generator"].forward = lambda *_: int("a")
    with pytest.raises(ValueError, match="invalid literal"):
        run.step()


# -- heads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "turn", "head"),
    [
        ([], [32], 2),
        # The images between real and generated ones are a batch of their own as well.
        ([PENALTY], [32, 16], 3),
        ([NORMED], [16, 16], 2),
    ],
    ids=["plain", "an extra view", "a backbone with batch norm"],
)
def test_a_head_that_looks_at_its_batch_sees_one_side_at_a_time(tables: list[Any], turn: list[int], head: int) -> None:
    """The backbone's batches stay joined where it allows that, and the head's outputs are those of each side alone."""
    run = run_of(DEVIATION, *tables)
    numbers, batch = backbone(run), run.fresh()
    run.phase("discriminator", batch)
    assert numbers == turn
    assert [len(rows) for rows in ROWS["head"]] == [16] * head
    ROWS.clear()
    run.phase("generator", batch)
    assert [len(rows) for rows in ROWS["head"]] == [16, 16]


def test_heads_that_look_at_no_batch_stay_joined_beside_one_that_does() -> None:
    run = run_of(DEVIATION, {"heads": {"tested": {"use": "standard/linear"}}, "losses": {"other": {"use": "host/head-loss"}}})
    seen: list[int] = []
    run.heads["tested"].register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
    run.phase("discriminator", run.fresh())
    assert [len(rows) for rows in ROWS["head"]] == [16, 16]
    assert seen == [32]


def test_the_loss_is_that_of_sides_that_went_through_alone() -> None:
    run = run_of(DEVIATION)
    batch = run.fresh()
    discriminator, head = run.networks["discriminator"], run.heads["adversarial"]
    with torch.no_grad():
        fake = run.networks["generator"](batch.z, batch.fake_label)
        logits = [head(discriminator(images), batch.real_label) for images in (batch.real, fake)]
        term: Any = run.terms["adversarial"]
        expected = term.discriminator(real_adversarial=logits[0], fake_adversarial=logits[1])
    run.phase("discriminator", batch)
    assert run.losses["discriminator/adversarial"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_batch_norm_in_a_head_must_be_declared() -> None:
    with pytest.raises(GancoreError, match=r"heads.adversarial \(rows/silent\) has batch norm, .* batch_statistics = True"):
        run_of({"heads": {"adversarial": {"use": "rows/silent"}}})


@pytest.mark.parametrize(("table", "name"), [(DEVIATION, "heads.adversarial"), (NORMED, "networks.discriminator")])
def test_no_images_are_joined_where_d_looks_at_its_batch(table: dict[str, Any], name: str) -> None:
    """The generator's batches would hold none of them, so D would judge batches of another kind than it was trained on."""
    with pytest.raises(GancoreError, match=f"{name} .* looks at its whole batch, and .* joins images") as caught:
        run_of(table, JOINED)
    assert len(str(caught.value)) <= 400
