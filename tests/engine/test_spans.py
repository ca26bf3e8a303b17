"""Spans: where an iteration is, told to whoever listens, and what is charged to whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gancore_profile.ledger import Ledger

from gancore.engine import spans
from gancore.engine.spans import Name, listening, span
from tests.hosts import CBGAN, FREE, run_of, same, steps


class Clock:
    """A clock that goes forward only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Iterator[Clock]:
    yield Clock()
    assert spans._listener is None


PHASE, FORWARD, NORM = Name("phase", "generator"), Name("networks", "generator", "forward"), Name("norm")


def test_a_span_is_charged_without_the_spans_inside_it(clock: Clock) -> None:
    ledger = Ledger(clock)
    with listening(ledger):
        clock.spend(1)
        with span("phase", "generator"):
            clock.spend(2)
            for _ in range(2):
                with span("networks", "generator", "forward"):
                    clock.spend(4)
                    with span("norm"):
                        clock.spend(8)
                    clock.spend(16)
        clock.spend(32)
        ledger.settle()
    assert ledger.amounts == {(): 33, (PHASE,): 2, (PHASE, FORWARD): 40, (PHASE, FORWARD, NORM): 16}
    assert ledger.entered == {(PHASE,): 1, (PHASE, FORWARD): 2, (PHASE, FORWARD, NORM): 2}
    assert sum(ledger.amounts.values()) == clock.now - 100


def test_an_error_closes_its_spans(clock: Clock) -> None:
    ledger = Ledger(clock)
    with listening(ledger), pytest.raises(ValueError, match="inside"), span("phase", "generator"), span("norm"):
        raise ValueError("inside")
    assert ledger.path == ()


def test_nobody_listens_outside_the_with_and_an_inner_listener_comes_first(clock: Clock) -> None:
    outer, inner = Ledger(clock), Ledger(clock)
    with listening(outer):
        with listening(inner), span("norm"):
            clock.spend(1)
        with span("norm"):
            clock.spend(2)
    with span("norm"):
        clock.spend(4)
    assert inner.amounts[Name("norm"),] == 1
    assert outer.amounts[Name("norm"),] == 2


def test_nothing_is_made_when_nobody_listens() -> None:
    assert span("networks", "generator", "forward") is span("norm")


def test_a_part_has_the_name_that_a_recipe_gives_it() -> None:
    assert (Name("losses", "balance", "loss").part, Name("backward").part) == ("losses.balance", "backward")


def _shown(path: tuple[Name, ...]) -> str:
    return " < ".join(f"{name.part} {name.work}".strip() for name in reversed(path))


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
            {"losses.penalty view < views < phase.discriminator"},
        ),
    ],
    ids=["class balance", "sampler", "free replay", "attack with own gradient", "extra view"],
)
def test_the_step_says_what_it_does_by_the_names_of_the_recipe(table: dict[str, Any], expected: set[str]) -> None:
    run, ledger = steps(run_of(table), 1), Ledger(lambda: 0.0)
    with listening(ledger):
        run.step()
    assert expected <= set(map(_shown, ledger.entered))
    assert ledger.path == ()


def test_listening_leaves_training_alone() -> None:
    heard = run_of(CBGAN)
    with listening(Ledger(lambda: 0.0)):
        steps(heard, 4)
    assert same(heard, steps(run_of(CBGAN), 4)) == []
