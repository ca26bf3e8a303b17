"""Spans: where an iteration is, told to whoever listens, and what is charged to whom."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gancore_profile.ledger import Ledger
from gancore_profile.spans import Name, listening

from tests.compose.hosts import CBGAN, FREE, run_of, same, steps


class Clock:
    """A clock that goes forward only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


PHASE, FORWARD, NORM = Name("phase", "generator"), Name("networks", "generator", "forward"), Name("norm")


def test_a_span_is_charged_without_the_spans_inside_it(clock: Clock) -> None:
    ledger = Ledger(clock)
    clock.spend(1)
    ledger.enter(PHASE)
    clock.spend(2)
    for _ in range(2):
        ledger.enter(FORWARD)
        clock.spend(4)
        ledger.enter(NORM)
        clock.spend(8)
        ledger.leave()
        clock.spend(16)
        ledger.leave()
    ledger.leave()
    clock.spend(32)
    ledger.settle()
    assert ledger.amounts == {(): 33, (PHASE,): 2, (PHASE, FORWARD): 40, (PHASE, FORWARD, NORM): 16}
    assert ledger.entered == {(PHASE,): 1, (PHASE, FORWARD): 2, (PHASE, FORWARD, NORM): 2}
    assert sum(ledger.amounts.values()) == clock.now - 100


def test_an_error_closes_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    run, ledger = run_of(CBGAN), Ledger(lambda: 0.0)

    def fails(**_: Any) -> None:
        raise ValueError("inside")

    monkeypatch.setattr(run.terms["adversarial"], "discriminator", fails)
    with listening(run, ledger), pytest.raises(ValueError, match="inside"):
        run.step()
    assert ledger.path == ()


def test_nothing_of_it_is_left_afterwards() -> None:
    run = run_of(CBGAN)
    before = [dict(vars(owner)) for owner in (run, *run.terms.values(), *run.players.values(), run.batches.stream)]
    networks, backward = dict(run.networks), torch.Tensor.backward
    with listening(run, Ledger(lambda: 0.0)):
        assert torch.Tensor.backward is not backward
    after = [dict(vars(owner)) for owner in (run, *run.terms.values(), *run.players.values(), run.batches.stream)]
    assert [state.keys() for state in after] == [state.keys() for state in before]
    assert all(run.networks[label] is network for label, network in networks.items())
    assert torch.Tensor.backward is backward


def test_a_part_has_the_name_that_a_recipe_gives_it() -> None:
    assert (Name("losses", "balance", "loss").place, Name("backward").place) == ("losses.balance", "backward")


def _shown(path: tuple[Name, ...]) -> str:
    return " < ".join(f"{name.place} {name.work}".strip() for name in reversed(path))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            CBGAN,
            {
                "data",
                "latents",
                "phase.discriminator",
                "networks.generator forward < phase.discriminator",
                "networks.discriminator forward < phase.discriminator",
                "heads.adversarial forward < phase.discriminator",
                "losses.adversarial loss < phase.discriminator",
                "backward < phase.discriminator",
                "optimizers.discriminator step < phase.discriminator",
                "networks.classifier forward < phase.generator",
                "losses.balance loss < phase.generator",
                "losses.balance observe < phase.generator",
                "ema < phase.generator",
            },
        ),
        ({"samplers": {"noise": {"use": "dsgan/noise"}}}, {"samplers.noise draw"}),
        (FREE, {"attacks.free perturb < phase.discriminator", "attacks.free update < phase.discriminator"}),
        (
            {"attacks": {"sign": {"use": "probe/sign"}}},
            {
                "attacks.sign craft < phase.discriminator",
                "networks.discriminator forward < attacks.sign craft < phase.discriminator",
                "losses.adversarial loss < attacks.sign craft < phase.discriminator",
            },
        ),
        (
            {"losses": {"penalty": {"use": "standard/gradient-penalty", "weight": 10.0}}},
            {"losses.penalty view < phase.discriminator"},
        ),
    ],
    ids=["class balance", "sampler", "free replay", "attack with own gradient", "extra view"],
)
def test_the_step_says_what_it_does_by_the_names_of_the_recipe(table: dict[str, Any], expected: set[str]) -> None:
    run, ledger = steps(run_of(table), 1), Ledger(lambda: 0.0)
    with listening(run, ledger):
        run.step()
    assert expected <= set(map(_shown, ledger.entered))
    assert ledger.path == ()


def test_listening_leaves_training_alone() -> None:
    heard = run_of(CBGAN)
    with listening(heard, Ledger(lambda: 0.0)):
        steps(heard, 4)
    assert same(heard, steps(run_of(CBGAN), 4)) == []
