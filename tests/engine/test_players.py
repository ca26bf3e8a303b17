"""Optimizers, schedules and moving averages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from gancore import GancoreError
from gancore.engine.players import MovingAverage, Player
from tests.hosts import plan_of, run_of, state_of, steps
from tests.standin.optimizers import sgd


def test_the_moving_average_follows_the_cbgan_code(parity: Callable[[str], dict[str, Any]]) -> None:
    rows = parity("cbgan_regularizer")["ema_decay0.9_start2_target_after"]
    source = nn.Linear(2, 1)
    with torch.no_grad():
        source.weight.copy_(torch.tensor([[1.0, 2.0]]))
        source.bias.fill_(0.5)
    average = MovingAverage(source, decay=0.9, start=2)
    for iteration, row in enumerate(rows):
        with torch.no_grad():
            source.weight += 1
            source.bias *= 2
        average.update(iteration)
        if iteration == 0:
            # The code's check for "before the start" is also false at 0, which the exact copy at 1 undoes.
            continue
        got = torch.cat([average.network.weight.flatten(), average.network.bias]).detach()
        torch.testing.assert_close(got, torch.as_tensor(row, dtype=torch.float32))


def test_the_moving_average_takes_buffers_along() -> None:
    network = nn.BatchNorm1d(2)
    average = MovingAverage(network, decay=0.5, start=0)
    network(torch.randn(8, 2))
    average.update(0)
    torch.testing.assert_close(average.network.running_mean, network.running_mean / 2)
    assert average.network.num_batches_tracked == 1
    assert not average.network.weight.requires_grad


def test_the_moving_average_leaves_alone_what_no_state_holds() -> None:
    """A checkpoint would forget it, so a training that changes it is refused; a constant need not be changed."""
    network = nn.Linear(2, 2)
    network.register_buffer("constant", torch.ones(2), persistent=False)
    average = MovingAverage(network, decay=0.5, start=1)
    constant = average.network.get_buffer("constant")
    before = constant._version
    nn.init.zeros_(network.weight)
    for iteration in range(3):
        average.update(iteration)
    assert constant._version == before
    assert torch.equal(constant, torch.ones(2))
    assert torch.equal(average.network.weight, torch.zeros(2, 2))


def test_the_schedule_sets_the_learning_rate_of_a_step() -> None:
    player = Player(
        "generator", nn.Linear(1, 1, bias=False), [], functools.partial(sgd, lr=1.0, momentum=0.0), {"lr": lambda i: 0.5**i}
    )
    with torch.no_grad():
        player.parameters[0].zero_()
    for iteration in range(3):
        player.zero_grad()
        player.network(torch.ones(1, 1)).sum().backward()
        player.set_schedules(iteration)
        player.step()
    assert player.parameters[0].item() == pytest.approx(-1.75)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"use": "adm"}, "optimizer 'adm', which does not exist (did you mean 'adam'"),
        ({"lr": 0}, "lr must be a number above 0"),
        ({"momentum": 0.9}, "no setting 'momentum'"),
        ({"schedule": "linear"}, "schedule.lr must be a table"),
        ({"schedule": {"use": "linaer"}}, "schedule 'linaer', which does not exist (did you mean 'linear'"),
        ({"schedule": {"use": "steps", "at": 5}}, "at must be a list"),
        ({"schedule": {"use": "exponential"}}, "needs the setting 'period'"),
        ({"betas": [0.5, 1.0]}, "betas"),
    ],
)
def test_a_wrong_optimizer_gets_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError, match=r"optimizers\.generator") as caught:
        plan_of({"optimizers": {"generator": settings}}).factors("optimizers.generator")
    assert sentence in str(caught.value)


SEVERAL: dict[str, Any] = {"ema": {"decay": 0.9, "start": 1, "further": {"slow": 0.99, "fast": 0.5}}}


def test_several_averages_are_each_what_one_of_its_decay_is() -> None:
    several = steps(run_of(SEVERAL), 4)
    for name, decay in (("ema", 0.9), ("slow", 0.99), ("fast", 0.5)):
        alone = steps(run_of({"ema": {"decay": decay, "start": 1}}), 4)
        for own, one in zip(several.generator(name).parameters(), alone.generator().parameters(), strict=True):
            assert torch.equal(own, one)
    assert several.generator("live") is several.networks["generator"]
    assert {name.split("/")[0] for name in state_of(several) if name.startswith("ema")} == {
        "ema.generator",
        "ema.slow",
        "ema.fast",
    }
    latents = several.latent(3, "here")
    assert not torch.equal(several.generate(latents, "slow"), several.generate(latents))


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"ema": {"further": {"live": 0.5}}}, "can't call an average 'live'"),
        ({"ema": {"further": {"Slow!": 0.5}}}, "can't call an average 'Slow!'"),
        ({"ema": {"further": {"slow": 1.5}}}, r"further\.slow must be a number in \[0, 1\], not 1\.5"),
        ({**SEVERAL, "evaluation": {"weights": "slower"}}, "'slower' names no weights .known: ema, fast, live, slow"),
        ({"ema": False, "evaluation": {"weights": "slow"}}, "'slow' names no weights .known: ema, live"),
    ],
)
def test_an_average_that_is_none_is_refused_with_the_recipe(table: dict[str, Any], text: str) -> None:
    with pytest.raises(GancoreError, match=text):
        plan_of(table)


def test_weights_that_a_run_does_not_have_are_refused() -> None:
    with pytest.raises(GancoreError, match=r"no weights 'slow' of the generator \(known: ema, live\)"):
        run_of().generator("slow")
