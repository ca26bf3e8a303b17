"""The suite that core hands to plugins' authors finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from gancore_testing.checks import (
    NoSynchronization,
    gradients_elsewhere,
    no_synchronization,
    not_finite,
    resumes,
    steps,
    trains,
    weight_zero,
)
from gancore_testing.hosting import GAME, Table, build_host, host_of, host_registry
from gancore_testing.processes import shared_table, two_processes
from gancore_testing.suite import _two_processes, cases_of
from gancore_testing.tested import Remarks
from torch import Tensor

import gancore
import plugins.testing.tests.careless
from gancore.recipe import merge
from tests.hosts import installed, registry

Checker = Callable[[str], str | None]


class Careless(gancore.LossTerm):
    """Does what a term must not do, as a class attribute says."""

    fault = ""

    def __init__(self) -> None:
        super().__init__()
        self.calls = ""

    def generator(self, *, fake_adversarial: Tensor, fake_classes: Tensor) -> Tensor:
        if self.fault == "waits":
            return fake_adversarial.mean() * fake_adversarial.max().item()
        if self.fault == "mask":
            return fake_adversarial[fake_adversarial > -9].mean()
        if self.fault == "forgets":
            self.calls += "."
            return fake_adversarial.mean() * len(self.calls)
        if self.fault == "steps":
            fake_adversarial.sum().backward(retain_graph=True)
        if self.fault == "nan":
            return fake_adversarial.mean() * float("nan")
        return fake_adversarial.mean()


def _module() -> ModuleType:
    module = ModuleType("careless")

    @gancore.hookimpl
    def gancore_loss_terms() -> Any:
        yield gancore.Component("term", f"{__name__}:Careless", "Careless")

    @gancore.hookimpl
    def gancore_heads() -> Any:
        yield gancore.Component("unstable", f"{__name__}:Unstable", "Not finite")

    @gancore.hookimpl
    def gancore_loops() -> Any:
        for name in ("stubborn", "forgetful"):
            yield gancore.Component(name, f"{__name__}:{name.capitalize()}", "Careless")

    for hook in (gancore_loss_terms, gancore_heads, gancore_loops):
        setattr(module, hook.__name__, hook)
    return module


TABLE = merge(GAME, {"losses": {"tested": {"use": "careless/term"}}})
REGISTRY = host_registry({"careless": _module()})


@pytest.mark.parametrize("fault", ["waits", "mask"])
def test_the_suite_finds_a_term_that_waits_for_the_device(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(Careless, "fault", fault)
    with pytest.raises(AssertionError, match="host wait"):
        no_synchronization(TABLE, REGISTRY)


def test_the_suite_finds_state_that_a_checkpoint_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Careless, "fault", "forgets")
    with pytest.raises(AssertionError, match="keep the state in buffers"):
        resumes(TABLE, REGISTRY)


def test_the_suite_finds_a_term_that_steps_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Careless, "fault", "steps")
    assert any(
        "discriminator" in name and "in the turn of the generator" in name
        for name in gradients_elsewhere(build_host(TABLE, REGISTRY))
    )


def test_the_suite_finds_what_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Careless, "fault", "nan")
    assert "generator/tested" in not_finite(steps(build_host(TABLE, REGISTRY), 1))


class Stubborn(gancore.Loop):
    """Can't work."""

    def iteration(self, run: gancore.Run) -> None:
        raise RuntimeError("never works")


class Elsewhere(gancore.Loop):
    """Trains what no host has."""

    players = ("encoder", "discriminator")


class Forgetful(gancore.Loop):
    """Takes the turns that it remembers having taken, which a checkpoint does not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.done = ""

    def iteration(self, run: gancore.Run) -> None:
        batch = run.fresh()
        for player in ("discriminator", "generator") if len(self.done) < 3 else ("discriminator",):
            run.phase(player, batch)
        self.done += "."


class Unstable(gancore.Head):
    """Divides by nothing."""

    def __init__(self, *, features: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(features, 3)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        logits: Tensor = self.linear(features) / 0
        return logits


def test_the_suite_finds_a_loop_that_raises() -> None:
    with pytest.raises(RuntimeError, match="never works"):
        trains(host_of("loop", Stubborn, "careless/stubborn", {}), REGISTRY)


def test_the_suite_finds_a_loop_that_a_checkpoint_forgets() -> None:
    with pytest.raises(AssertionError, match="keep the state in buffers"):
        resumes(host_of("loop", Forgetful, "careless/forgetful", {}), REGISTRY)
    with pytest.raises(gancore.GancoreError, match="loop changes done in an iteration"):
        trains(host_of("loop", Forgetful, "careless/forgetful", {}), REGISTRY)


def test_a_loop_of_other_players_has_no_host() -> None:
    with pytest.raises(LookupError, match="no network called encoder"):
        host_of("loop", Elsewhere, "careless/elsewhere", {})


def test_the_suite_finds_a_head_that_is_not_finite() -> None:
    with pytest.raises(AssertionError, match="not finite"):
        trains(host_of("head", Unstable, "careless/unstable", {}), REGISTRY)


def test_a_careful_term_passes() -> None:
    for check in (no_synchronization, resumes, weight_zero):
        check(TABLE, REGISTRY)


def test_the_guard_lets_ordinary_work_pass() -> None:
    with NoSynchronization():
        x = torch.randn(3, 4)
        torch.where(x > 0, x, 0).index_select(0, torch.tensor([0, 2])).sum()


# -- two processes ---------------------------------------------------------------------------------------------------

FOUND = host_registry({"careless": plugins.testing.tests.careless})


HEADS = {"a head's own images": "own images", "a head's own gradients": "own gradients", "a head": ""}


def _faulty(fault: str) -> Table:
    if fault in HEADS:
        head = {"use": "careless/comparing", "fault": HEADS[fault]}
        return merge(GAME, {"heads": {"adversarial": head}})
    return merge(GAME, {"losses": {"tested": {"use": "careless/faulty", "fault": fault}}})


@pytest.fixture(scope="module")
def pair() -> Checker:
    """All faults in one pair of processes, those that fail before those that don't."""
    faults = ("fails in one", "local mean", "exits", "own draws", "fails in both", "", "draws", *HEADS)
    modules = {"careless": plugins.testing.tests.careless}
    return two_processes(modules, {fault: partial(shared_table, _faulty(fault), FOUND) for fault in faults})


@pytest.mark.parametrize("fault", ["local mean", "own draws"])
def test_the_suite_finds_a_loss_that_is_none_of_the_whole_batch(pair: Checker, fault: str) -> None:
    with pytest.raises(AssertionError, match=r"differ in .*after/network\.generator/linear\.weight .* gancore\.global_mean"):
        _two_processes(pair, fault, None)
    with pytest.raises(pytest.skip.Exception, match="pairs of images"):
        _two_processes(pair, fault, "pairs of images")


@pytest.mark.parametrize("fault", ["a head's own images", "a head's own gradients"])
def test_the_suite_finds_a_head_that_leaves_out_other_processes(pair: Checker, fault: str) -> None:
    with pytest.raises(AssertionError, match=r"differ in .*after/network\.generator/linear\.weight .* gancore\.gather"):
        _two_processes(pair, fault, None)


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("fails in one", "ValueError: this process fails alone"),
        ("fails in both", "ValueError: several processes are too many"),
        ("exits", "SystemExit: 3"),
    ],
)
def test_a_part_that_fails_in_a_process_fails_alone_and_says_why(pair: Checker, fault: str, cause: str) -> None:
    with pytest.raises(AssertionError, match=f"two processes fail where one does not: {cause}"):
        _two_processes(pair, fault, None)


@pytest.mark.parametrize("fault", ["", "draws", "a head"])
def test_a_part_that_is_right_in_two_processes_passes_beside_those_that_are_not(pair: Checker, fault: str) -> None:
    _two_processes(pair, fault, None)


def test_an_excuse_needs_a_reason_and_a_part_that_needs_it(pair: Checker) -> None:
    with pytest.raises(pytest.fail.Exception, match="no reason"):
        _two_processes(pair, "local mean", " ")
    with pytest.raises(AssertionError, match="need not name"):
        _two_processes(pair, "", "they differ")
    with installed(registry()):
        cases = dict(cases_of("standard", Remarks(apart={"digits": "a data set"})))
    with pytest.raises(pytest.fail.Exception, match="nothing of the plugin that is trained"):
        cases["digits: is apart"]()
