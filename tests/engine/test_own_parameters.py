"""A loss term's own parameters are trained with a player; those of components that no player trains are refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from gancore_testing.checks import gradients_elsewhere
from torch import nn

import gancore
from gancore import GancoreError
from gancore.engine.run import Run
from gancore.registry import Registry
from gancore.testing import host
from tests import hosts, probe, standin
from tests.hosts import CPU, steps

# -- the plugin of this module -----------------------------------------------------------------------------------------


class LearnedSampler(gancore.Sampler):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


class LearnedAttack(gancore.Attack):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1)


class LearnedLatent(gancore.Latent):
    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(8))


class LearnedMetric(gancore.Metric, nn.Module):
    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.network = nn.Linear(1, 1)


def _declared(*names: str) -> Iterator[gancore.Component]:
    for name in names:
        yield gancore.Component(name.lower(), f"{__name__}:{name}", name)


@gancore.hookimpl
def gancore_samplers() -> Iterator[gancore.Component]:
    yield from _declared("LearnedSampler")


@gancore.hookimpl
def gancore_attacks() -> Iterator[gancore.Component]:
    yield from _declared("LearnedAttack")


@gancore.hookimpl
def gancore_latents() -> Iterator[gancore.Component]:
    yield from _declared("LearnedLatent")


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    yield from _declared("LearnedMetric")


REGISTRY = Registry.of({"standard": standin, "probe": probe, "host": host, "own": sys.modules[__name__]})


def run_of(*tables: dict[str, Any]) -> Run:
    return Run(hosts.plan_of(*tables, plugins=REGISTRY), CPU)


def learned(**settings: Any) -> dict[str, Any]:
    return {"losses": {"learned": {"use": "probe/uncertain", **settings}}}


# -- loss terms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "player"),
    [({}, "generator"), ({"players": ["discriminator"]}, "discriminator"), ({"players": ["generator"]}, "generator")],
    ids=["both", "discriminator", "generator"],
)
def test_a_terms_own_parameter_is_trained_with_the_first_player_whose_loss_it_enters(
    settings: dict[str, Any], player: str
) -> None:
    run = run_of(learned(**settings))
    parameter = run.terms["learned"].s
    batch = run.fresh()
    for turn in ("discriminator", "generator"):
        before = parameter.detach().clone()
        run.phase(turn, batch)
        assert torch.equal(before, parameter) == (turn != player), f"in the turn of the {turn}"
    assert [name for name, owner in run.players.items() if any(p is parameter for p in owner.parameters)] == [player]


def test_its_step_is_that_of_the_players_optimizer() -> None:
    table = {"optimizers": {"discriminator": {"use": "torch/SGD", "lr": 0.1}}}
    run = run_of(learned(players=["discriminator"]), table)
    batch = run.fresh()
    with torch.no_grad():
        logits = run.heads["adversarial"](run.networks["discriminator"](batch.real), batch.real_label)
    run.phase("discriminator", batch)
    # d/ds [exp(-s) L + 3 s] at s = 0 is 3 - L.
    assert run.terms["learned"].s.item() == pytest.approx(-0.1 * (3 - logits.square().mean().item()), rel=1e-5)


def test_it_leaves_no_gradient_elsewhere_and_no_projection_reaches_it() -> None:
    run = run_of(learned(players=["discriminator"]), {"losses": {"clip": {"use": "probe/clip"}}})
    assert gradients_elsewhere(run) == []
    with torch.no_grad():
        run.terms["learned"].s.fill_(2.0)
    run.step()
    assert run.terms["learned"].s.item() == pytest.approx(2.0, abs=0.01)
    assert max(p.abs().max().item() for p in run.players["discriminator"].weights) <= 0.05 + 1e-8


def test_a_frozen_parameter_stays_as_it_is() -> None:
    run = steps(run_of(learned(frozen=True)), 2)
    assert run.terms["learned"].s.item() == 0


# -- components that no player trains ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"samplers": {"learned": {"use": "own/learnedsampler"}}}, "samplers.learned"),
        ({"attacks": {"learned": {"use": "own/learnedattack"}}}, "attacks.learned"),
        ({"latent": {"use": "own/learnedlatent"}}, "latent"),
    ],
)
def test_parameters_that_nothing_trains_are_refused(table: dict[str, Any], place: str) -> None:
    with pytest.raises(GancoreError, match=f"test: {place} .* has parameters, which nothing would train") as caught:
        run_of(table)
    assert len(str(caught.value)) <= 400


def test_those_of_a_metric_are_refused_too() -> None:
    plan = hosts.plan_of({"metrics": {"learned": {"use": "own/learnedmetric"}}}, plugins=REGISTRY)
    with pytest.raises(GancoreError, match=r"metrics.learned .* has parameters"):
        plan.metrics["learned"].build(plan.context)
