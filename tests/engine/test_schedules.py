"""Schedules change learning rates, other numbers of an optimizer, weights of loss terms, and the decay of the average."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from gancore import GancoreError
from gancore.engine.run import Run
from gancore.testing import NoSynchronization
from tests.hosts import plan_of, run_of, same, steps

EXPONENTIAL = {"use": "exponential", "base": 0.5, "period": 2.0}
SCHEDULED: dict[str, Any] = {
    "optimizers": {
        "generator": {
            "betas": [0.5, 0.9],
            "weight_decay": 0.1,
            "schedule": {"use": "linear"},
            "schedules": {"beta1": EXPONENTIAL, "weight_decay": {"use": "steps", "at": [1, 3]}},
        },
        "discriminator": {"use": "torch/SGD", "lr": 0.1, "momentum": 0.9, "schedules": {"momentum": {"use": "cosine"}}},
    },
    "losses": {"adversarial": {"weight": 2.0, "schedule": {"use": "probe/thirds"}}},
    "ema": {"decay": 0.8, "schedule": EXPONENTIAL},
}
"""A run of eight iterations with a schedule of each kind of number."""


def group(run: Run, player: str) -> dict[str, Any]:
    (only,) = run.players[player].optimizer.param_groups
    return only


def test_each_number_follows_its_closed_form() -> None:
    run = run_of(SCHEDULED)
    for i in range(8):
        steps(run, 1)
        assert group(run, "generator")["lr"] == pytest.approx(2e-4 * (1 - i / 8))
        assert group(run, "generator")["betas"] == (pytest.approx(0.5 * 0.5 ** (i / 2)), 0.9)
        assert group(run, "generator")["weight_decay"] == pytest.approx(0.1 * 0.1 ** ((i >= 1) + (i >= 3)))
        assert group(run, "discriminator")["lr"] == 0.1
        assert group(run, "discriminator")["momentum"] == pytest.approx(0.9 * 0.5 * (1 + math.cos(math.pi * i / 8)))
        assert run.parts.weights["adversarial"].item() == pytest.approx(2 * (i + 1) / 3)


def test_the_schedule_of_a_weight_multiplies_the_loss() -> None:
    def descended(*tables: dict[str, Any]) -> list[torch.Tensor]:
        descent = {"optimizers": {player: {"use": "descent", "lr": 1e-3} for player in ("generator", "discriminator")}}
        run = run_of(descent, *tables)
        before = [p.detach().clone() for p in run.players["discriminator"].parameters]
        steps(run, 1)
        return [b - p.detach() for b, p in zip(before, run.players["discriminator"].parameters, strict=True)]

    plain = descended()
    third = descended({"losses": {"adversarial": {"schedule": {"use": "probe/thirds"}}}})
    for whole, part in zip(plain, third, strict=True):
        torch.testing.assert_close(part, whole / 3, rtol=1e-3, atol=1e-7)


def test_the_schedule_of_the_decay_is_that_of_the_average() -> None:
    run = run_of({"ema": {"decay": 0.8, "schedule": EXPONENTIAL}})
    assert run.average is not None
    expected = [p.detach().clone() for p in run.average.network.parameters()]
    for i in range(4):
        steps(run, 1)
        decay = 0.8 * 0.5 ** (i / 2)
        now = list(run.networks["generator"].parameters())
        expected = [decay * old + (1 - decay) * new.detach() for old, new in zip(expected, now, strict=True)]
        for ours, theirs in zip(run.average.network.parameters(), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_no_schedule_waits_for_the_device() -> None:
    run = steps(run_of(SCHEDULED), 1)
    with NoSynchronization():
        run.step()


def test_a_schedule_of_1_changes_no_bit() -> None:
    ones = {
        "optimizers": {"generator": {"schedule": {"use": "constant"}, "schedules": {"beta2": {"use": "constant"}}}},
        "losses": {"adversarial": {"schedule": {"use": "constant"}}},
        "ema": {"schedule": {"use": "constant"}},
    }
    assert not same(steps(run_of(), 4), steps(run_of(ones), 4))


def test_the_plan_and_the_table_say_what_the_schedules_are() -> None:
    plan = plan_of(SCHEDULED)
    names = {place: schedule.full_name for place, schedule in plan.schedules.items()}
    assert names["optimizers.generator.beta1"] == names["ema.decay"] == "standard/exponential"
    assert names["losses.adversarial.weight"] == "probe/thirds"
    assert plan.recipe.table["ema"]["schedule"]["use"] == "standard/exponential"
    assert plan.recipe.table["optimizers"]["discriminator"]["schedules"]["momentum"]["use"] == "standard/cosine"
    assert plan.recipe.plugins == ("host", "probe", "standard") or "probe" in plan.recipe.plugins


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            {"optimizers": {"generator": {"schedules": {"bta1": {"use": "linear"}}}}},
            "optimizers.generator (standard/adam) has no number 'bta1' that a schedule could multiply (did you mean 'beta1'?)",
        ),
        ({"optimizers": {"generator": {"schedules": {"weight_decay": {"use": "linear"}}}}}, "no number 'weight_decay'"),
        ({"optimizers": {"generator": {"schedules": 3}}}, "optimizers.generator.schedules must be a table of schedules, not 3"),
        (
            {"optimizers": {"generator": {"schedule": {"use": "linear"}, "schedules": {"lr": {"use": "linear"}}}}},
            "optimizers.generator has two schedules of lr; leave one out",
        ),
        (
            {"losses": {"adversarial": {"schedule": "linear"}}},
            "losses.adversarial.schedule.weight must be a table with a `use`",
        ),
        ({"losses": {"adversarial": {"schedule": {"use": "hinge"}}}}, "is a loss, not a schedule"),
        ({"losses": {"adversarial": {"schedule": {"use": "steps"}}}}, "needs the setting 'at'"),
        ({"losses": {"adversarial": {"schedules": {"weight": {"use": "linear"}}}}}, "has no setting 'schedules'"),
        ({"ema": {"schedule": {"period": 3}}}, "ema.schedule.decay has no `use`, the schedule that it is"),
        ({"ema": {"schedule": {"use": "nowhere/steps"}}}, "needs the plugin 'nowhere', which is not installed"),
    ],
)
def test_a_wrong_schedule_gets_one_sentence(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError) as caught:
        plan_of(table)
    assert sentence in str(caught.value)
