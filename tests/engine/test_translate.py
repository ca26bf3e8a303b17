"""Generators that make their images out of the batch's real ones, and terms that read other networks than they name."""

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
from gancore.plan.load import make_plan
from gancore.plan.phases import plan_phase
from gancore.plan.plan import Plan
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from gancore.registry import Registry
from gancore.testing import host
from tests import standin
from tests.hosts import CPU, same, steps


class Shift(gancore.Translator):
    """Adds a trained image to the ones it is given."""

    def __init__(self, *, channels: int, image_size: int, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.delta = nn.Parameter(torch.full((1, channels, image_size, image_size), 0.25))

    def translate(self, images: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        assert len(images) == len(z)
        return (images + self.delta).clamp(-1, 1)


SEEN: dict[str, Any] = {}


class Watch(gancore.LossTerm):
    """Asks for what a classifier says before and after, and keeps it."""

    def generator(
        self, *, real: Tensor, fake: Tensor, real_classifier: Tensor, fake_classifier: Tensor, fake_classifier_features: Tensor
    ) -> Tensor:
        SEEN["generator"] = {name: value for name, value in locals().items() if name != "self"}
        return (real_classifier - fake_classifier).square().mean() + fake_classifier_features.mean()


class Heady(gancore.LossTerm):
    """Asks for a head."""

    def discriminator(self, *, real_adversarial: Tensor) -> Tensor:
        return real_adversarial.square().mean()


class Translate(gancore.Loop):
    """Trains the generator alone."""

    players = ("generator",)

    def iteration(self, run: Run) -> None:
        run.phase("generator", run.fresh())


MODULE = __name__


@gancore.hookimpl
def gancore_networks() -> Iterator[gancore.Component]:
    yield gancore.Component("shift", f"{MODULE}:Shift", "Adds an image")


@gancore.hookimpl
def gancore_loss_terms() -> Iterator[gancore.Component]:
    yield gancore.Component("watch", f"{MODULE}:Watch", "Before and after")
    yield gancore.Component("heady", f"{MODULE}:Heady", "A head")


@gancore.hookimpl
def gancore_loops() -> Iterator[gancore.Component]:
    yield gancore.Component("translate", f"{MODULE}:Translate", "The generator alone")


BASE: dict[str, Any] = {
    "run": {"iterations": 4, "batch_size": 6, "latent_dim": 3, "precision": "float32"},
    "data": {"use": "standard/digits"},
    "networks": {
        "generator": {"use": "own/shift"},
        "classifier": {"use": "host/classifier"},
        "second": {"use": "host/classifier"},
    },
    "losses": {"watch": {"use": "own/watch"}},
    "loop": {"use": "own/translate"},
    "metrics": {"classes": {"use": "standard/class-histogram", "network": "classifier"}},
    "evaluation": {"samples": 50, "batch_size": 20},
}


def plan_of(*tables: dict[str, Any]) -> Plan:
    registry = Registry.of({"standard": standin, "own": sys.modules[__name__], "host": host})
    table = BASE
    for over in tables:
        table = merge(table, over)
    return make_plan(check_table(table, registry, name="test"), registry)


def run_of(*tables: dict[str, Any]) -> Run:
    return Run(plan_of(*tables), CPU)


def test_a_translated_image_is_made_of_the_real_one_beside_it():
    run = run_of()
    batch = run.fresh()
    run.phase("generator", batch)
    seen = SEEN["generator"]
    assert torch.equal(seen["real"], batch.real)
    torch.testing.assert_close(seen["fake"], (batch.real + 0.25).clamp(-1, 1))
    classifier = run.networks["classifier"]
    torch.testing.assert_close(seen["real_classifier"], classifier(batch.real))
    torch.testing.assert_close(seen["fake_classifier"].detach(), classifier((batch.real + 0.25).clamp(-1, 1)))
    assert not torch.equal(run.networks["generator"].delta, torch.full_like(run.networks["generator"].delta, 0.25))


def test_a_term_reads_the_network_that_the_recipe_names():
    run = run_of({"losses": {"watch": {"reads": {"classifier": "second"}}}})
    batch = run.fresh()
    run.phase("generator", batch)
    torch.testing.assert_close(SEEN["generator"]["real_classifier"], run.networks["second"](batch.real))
    torch.testing.assert_close(
        SEEN["generator"]["fake_classifier_features"].detach(),
        run.networks["second"].embed((batch.real + 0.25).clamp(-1, 1)),
    )
    # What nobody reads is not computed.
    read = plan_phase(run.plan, "generator", run.plan.terms).networks
    assert {(forward.network, forward.side) for forward in read} == {("second", "real"), ("second", "fake")}


def test_one_idea_for_two_networks_adds_up():
    second = {"losses": {"also": {"use": "own/watch", "reads": {"classifier": "second"}}}}
    apart = [run_of(), run_of({"losses": {"watch": {"reads": {"classifier": "second"}}}})]
    both = run_of(second)
    for run in (*apart, both):
        run.phase("generator", run.fresh())
    total = sum(run.losses["generator/watch"] for run in apart)
    torch.testing.assert_close(both.losses["generator/watch"] + both.losses["generator/also"], total)


def test_reading_itself_changes_nothing():
    one, two = run_of(), run_of({"losses": {"watch": {"reads": {"classifier": "classifier"}}}})
    steps(one, 3)
    steps(two, 3)
    assert same(one, two) == []


def test_a_head_may_be_read_in_place_of_another():
    game = {
        "networks": {"generator": {"use": "host/generator"}, "discriminator": {"use": "host/discriminator"}},
        "heads": {"adversarial": {"use": "standard/linear"}, "other": {"use": "standard/linear"}},
        "losses": {
            "watch": False,
            "game": {"use": "standard/hinge"},
            "heady": {"use": "own/heady", "reads": {"adversarial": "other"}},
        },
        "loop": {"use": "standard/alternating"},
    }
    plan = plan_of(game)
    (need,) = plan.terms["heady"].methods["discriminator"]
    assert (need.kind, need.label) == ("head", "other")


@pytest.mark.parametrize(
    ("reads", "message"),
    [
        ({"classifier": "third"}, "asks for 'real_third'"),
        ({"clasifier": "second"}, "'clasifier', which no parameter of it names (did you mean 'classifier'"),
        ({"classifier": 3}, "reads"),
        ("second", "reads"),
    ],
)
def test_a_wrong_reads_is_one_sentence(reads, message):
    with pytest.raises(GancoreError) as caught:
        plan_of({"losses": {"watch": {"reads": reads}}})
    assert message in str(caught.value)
    assert "losses.watch" in str(caught.value)
