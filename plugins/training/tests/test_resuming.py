"""A run goes on from its state to the last bit, whatever is in it; a state that does not fit is refused."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from gancore_training import TrainingRun, restore, tensors_of
from gancore_training.state import load_optimizer_state, optimizer_state
from torch import nn

from gancore import GancoreError
from gancore.engine import Player
from gancore.plan import Plan
from tests import hosts
from tests.engine import test_abilities, test_own_parameters, test_sources, test_step
from tests.engine.test_latents import MIXTURE
from tests.engine.test_loops import LOOKAHEAD
from tests.engine.test_optimizers import NAMES, REFUSED, trained_by
from tests.engine.test_own_parameters import learned
from tests.engine.test_players import SEVERAL
from tests.engine.test_schedules import SCHEDULED, group
from tests.hosts import CPU, plan_of, same, steps
from tests.standin.optimizers import adam

SEEING: dict[str, Any] = {"networks": {"discriminator": {"use": "able/concatenating"}}}
PENALTY: dict[str, Any] = {"losses": {"penalty": {"use": "standard/gradient-penalty"}}}
STARTED: dict[str, Any] = {"networks": {"generator": {"use": "able/virtual"}, "discriminator": {"use": "probe/standardizing"}}}
HALF: dict[str, Any] = {"samplers": {"half": {"use": "able/half"}}}


def able(*tables: dict[str, Any]) -> Plan:
    return hosts.plan_of(*tables, plugins=test_abilities.REGISTRY)


def own(*tables: dict[str, Any]) -> Plan:
    return hosts.plan_of(*tables, plugins=test_own_parameters.REGISTRY)


CASES: dict[str, Callable[[], Plan]] = {
    **{f"step: {name}": lambda table=table: plan_of(table) for name, table in test_step.ABILITIES.items()},
    **{
        f"sources: {name}": lambda tables=tables: test_sources.plan_of(*tables)
        for name, tables in test_sources.ABILITIES.items()
    },
    **{f"torch/{name}": lambda name=name: plan_of(trained_by(f"torch/{name}")) for name in NAMES if name not in REFUSED},
    "several averages": lambda: plan_of(SEVERAL),
    "schedules": lambda: plan_of(SCHEDULED),
    "a term's parameters": lambda: own(learned()),
    "a term's parameters now and then": lambda: own(learned(every=2)),
    "what a loss hands over": lambda: able(test_abilities.term("means")),
    "what a term prepared": lambda: able(test_abilities.term("anchored")),
    "a penalty on images": lambda: able(test_abilities.term("beforeaugmentation"), HALF),
    "a penalty on generated images": lambda: able(test_abilities.term("ofgenerated"), HALF),
    "a backbone that sees labels": lambda: able(SEEING, test_abilities.CONDITIONAL, PENALTY),
    "networks that start from data": lambda: able(STARTED),
}


def resumed(plan: Callable[[], Plan]) -> tuple[TrainingRun, TrainingRun]:
    """Return a run of six iterations, and one that goes on after two from the state of another."""
    whole, first, second = (TrainingRun(plan(), CPU) for _ in range(3))
    steps(whole, 6)
    steps(first, 2)
    saved = {name: tensor.detach().clone().contiguous() for name, tensor in first.tensors().items()}
    torch.manual_seed(9)
    second.restore(saved, first.counters(), first.numbers())
    return whole, steps(second, 4)


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_on_to_the_last_bit(case: str) -> None:
    whole, second = resumed(CASES[case])
    assert same(whole, second) == []
    assert whole.losses.keys() == second.losses.keys()


def test_numbers_that_schedules_set_go_on_where_they_were() -> None:
    whole, second = resumed(CASES["schedules"])
    assert group(whole, "generator")["betas"] == group(second, "generator")["betas"]


def test_a_terms_parameters_are_in_the_state_and_move() -> None:
    run = TrainingRun(own(learned()), CPU)
    before = run.tensors()["loss.learned/s"].item()
    assert steps(run, 2).tensors()["loss.learned/s"].item() != before


def test_a_term_that_takes_part_now_and_then_does_so_after_a_resume() -> None:
    table = test_step.ABILITIES["a term now and then"]
    run, second = TrainingRun(plan_of(table), CPU), TrainingRun(plan_of(table), CPU)
    steps(run, 3)
    restore(second, {name: tensor.clone() for name, tensor in tensors_of(run).items()}, run.counters())
    assert any(name.endswith("/now") for name in steps(second, 1).losses)


def test_the_buffers_of_latents_are_saved_and_restored() -> None:
    whole, first, second = (TrainingRun(plan_of(MIXTURE), CPU) for _ in range(3))
    steps(whole, 4)
    steps(first, 2)
    tensors = {name: value.detach().clone() for name, value in first.tensors().items()}
    assert torch.equal(tensors["latent/means"], first.prior.means)
    second.prior.means.zero_()
    second.restore(tensors, first.counters())
    assert not same(whole, steps(second, 2))
    assert not [name for name in TrainingRun(plan_of(), CPU).tensors() if name.startswith("latent")]


def test_an_optimizer_whose_state_no_checkpoint_would_keep_is_refused() -> None:
    run = steps(TrainingRun(plan_of(trained_by("forgetful")), CPU), 1)
    with pytest.raises(GancoreError, match=r"\(probe/forgetful\) remembers 0\.step as 1; only tensors are saved"):
        run.tensors()


def test_another_loops_state_is_refused() -> None:
    run, other = TrainingRun(plan_of(), CPU), TrainingRun(plan_of(LOOKAHEAD), CPU)
    with pytest.raises(GancoreError, match="it differs in loop"):
        run.restore(other.tensors(), run.counters())


def test_an_optimizers_state_comes_back_bit_exactly() -> None:
    def player(network: nn.Module) -> Player:
        return Player("generator", network, [], functools.partial(adam, lr=0.1), {})

    def step(p: Player) -> None:
        p.zero_grad()
        p.network(torch.ones(1, 3, 4, 4)).square().sum().backward()
        p.step()

    one = player(nn.Conv2d(3, 2, 3).to(memory_format=torch.channels_last))
    step(one)
    two = player(copy.deepcopy(one.network))
    load_optimizer_state(two, {name: value.contiguous().clone() for name, value in optimizer_state(one).items()})
    step(one)
    step(two)
    for a, b in zip(one.parameters, two.parameters, strict=True):
        assert torch.equal(a, b)
        assert a.stride() == b.stride()
