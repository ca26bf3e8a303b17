"""Core's own components pass the conformance suite that it hands to strangers, and the suite finds what is wrong."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

import gancore_standard
import pytest
import torch
from torch import Tensor

import gancore
import tests.careless
from gancore.recipe.registry import Registry
from gancore.testing import _cases, _no_synchronization, _resumes, _two_processes, _weight_zero, conformance, host
from gancore.testing.compiling import NothingToCompileError, problem_of_head, problem_of_part
from gancore.testing.processes import TwoProcesses, shared_table
from gancore.testing.stepping import HostTable, NoSynchronization, build_host, finite, gradients_elsewhere

test_conformance = conformance("standard", {"per-class": {"count": 3}, "take-classes": {"keep": [0, 2]}})


class Careless(gancore.LossTerm):
    """Does what a term must not do, as a class attribute says."""

    fault = ""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def generator(self, *, fake_adversarial: Tensor, fake_classes: Tensor) -> Tensor:
        if self.fault == "waits":
            return fake_adversarial.mean() * fake_adversarial.max().item()
        if self.fault == "mask":
            return fake_adversarial[fake_adversarial > -9].mean()
        if self.fault == "forgets":
            self.calls += 1
            return fake_adversarial.mean() * self.calls
        if self.fault == "steps":
            fake_adversarial.sum().backward(retain_graph=True)
        if self.fault == "nan":
            return fake_adversarial.mean() * float("nan")
        return fake_adversarial.mean()


def _module() -> ModuleType:
    module = ModuleType("careless")

    @gancore.hookimpl
    def gancore_loss_terms() -> Any:
        yield gancore.Component("term", "tests.test_conformance:Careless", "Careless")

    module.gancore_loss_terms = gancore_loss_terms  # type: ignore[attr-defined]
    return module


TABLE = HostTable().with_part("losses", "part", "careless/term")


@pytest.mark.parametrize("fault", ["waits", "mask"])
def test_the_suite_finds_a_term_that_waits_for_the_device(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(Careless, "fault", fault)
    with pytest.raises(AssertionError, match="host wait"):
        _no_synchronization(TABLE, "careless", _module())


def test_the_suite_finds_state_that_a_checkpoint_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Careless, "fault", "forgets")
    with pytest.raises(AssertionError, match="keep the state in buffers"):
        _resumes(TABLE, "careless", _module())


def _run() -> Any:
    return build_host(TABLE, Registry.of({"standard": gancore_standard, "host": host, "careless": _module()}))


def test_the_suite_finds_a_term_that_steps_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Careless, "fault", "steps")
    assert any("discriminator" in name and "in the turn of the generator" in name for name in gradients_elsewhere(_run()))


def test_the_suite_finds_what_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Careless, "fault", "nan")
    run = _run()
    run.step()
    assert "generator/part" in finite(run)


def test_a_careful_term_passes() -> None:
    for check in (_no_synchronization, _resumes, _weight_zero):
        check(TABLE, "careless", _module())


def test_the_guard_lets_ordinary_work_pass() -> None:
    with NoSynchronization():
        x = torch.randn(3, 4)
        torch.where(x > 0, x, 0).index_select(0, torch.tensor([0, 2])).sum()


# -- two processes ---------------------------------------------------------------------------------------------------

FOUND = Registry.of({"standard": gancore_standard, "host": host, "careless": tests.careless})


def _faulty(fault: str) -> HostTable:
    return HostTable().with_part("losses", "part", "careless/faulty", fault=fault)


@pytest.fixture(scope="module")
def pair() -> TwoProcesses:
    """All faults in one pair of processes, those that fail before those that don't."""
    faults = ("fails in one", "local mean", "exits", "own draws", "fails in both", "", "draws")
    return TwoProcesses("careless", tests.careless, {fault: partial(shared_table, _faulty(fault), FOUND) for fault in faults})


@pytest.mark.parametrize("fault", ["local mean", "own draws"])
def test_the_suite_finds_a_loss_that_is_none_of_the_whole_batch(pair: TwoProcesses, fault: str) -> None:
    with pytest.raises(AssertionError, match=r"differ in after/network\.generator/linear\.weight .* gancore\.global_mean"):
        _two_processes(pair, fault, None)
    with pytest.raises(pytest.skip.Exception, match="pairs of images"):
        _two_processes(pair, fault, "pairs of images")


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("fails in one", "ValueError: this process fails alone"),
        ("fails in both", "ValueError: several processes are too many"),
        ("exits", "SystemExit: 3"),
    ],
)
def test_a_part_that_fails_in_a_process_fails_alone_and_says_why(pair: TwoProcesses, fault: str, cause: str) -> None:
    with pytest.raises(AssertionError, match=f"two processes fail where one does not: {cause}"):
        _two_processes(pair, fault, None)


@pytest.mark.parametrize("fault", ["", "draws"])
def test_a_part_that_is_right_in_two_processes_passes_beside_those_that_are_not(pair: TwoProcesses, fault: str) -> None:
    _two_processes(pair, fault, None)


def test_an_excuse_needs_a_reason_and_a_part_that_needs_it(pair: TwoProcesses) -> None:
    with pytest.raises(pytest.fail.Exception, match="no reason"):
        _two_processes(pair, "local mean", " ")
    with pytest.raises(AssertionError, match="need not name"):
        _two_processes(pair, "", "they differ")
    cases = dict(_cases("standard", {}, {"linear": "a head"}))
    with pytest.raises(pytest.fail.Exception, match="no trained part of standard"):
        cases["linear: is apart"]()


# -- compiled --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "method"),
    [("branches", "generator"), ("branches in observe", "observe"), ("branches in attacked", "attacked")],
)
def test_the_suite_finds_a_method_that_cannot_be_compiled(fault: str, method: str) -> None:
    table = _faulty(fault).with_part("attacks", "ascent", "host/ascent")
    problem = problem_of_part(table, FOUND)
    assert problem is not None
    assert f"can't trace {method}: Data-dependent branching" in problem
    assert "careless.py" in problem
    assert "torch.where" in problem


def test_the_suite_finds_a_term_that_computes_something_else_compiled() -> None:
    problem = problem_of_part(_faulty("differs"), FOUND)
    assert problem is not None
    assert problem.startswith("compiled, generator, discriminator")
    assert "network.generator/linear.weight" in problem


def test_a_term_that_takes_a_generator_is_compiled_unless_it_draws() -> None:
    assert problem_of_part(_faulty(""), FOUND) is None
    # Its other methods are compiled all the same.
    assert problem_of_part(_faulty("draws"), FOUND) is None
    with pytest.raises(NothingToCompileError, match=r"torch\.Generator"):
        problem_of_part(HostTable().with_part("losses", "part", "standard/gradient-penalty"), FOUND)


def test_the_suite_finds_a_head_that_cannot_be_compiled() -> None:
    problem = problem_of_head(HostTable().with_part("heads", "part", "careless/branching"), FOUND)
    assert problem is not None
    assert "can't trace forward" in problem
