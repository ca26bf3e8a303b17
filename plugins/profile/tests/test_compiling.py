"""Compiled networks: the same losses, the same state and names, or a reason why not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_profile import compiling
from gancore_profile.compiling import compile_networks
from gancore_standard.loops import Alternating
from gancore_training.trainer import train

from gancore.engine.run import Run
from plugins.training.tests.test_trainer import Watcher
from tests.compose.hosts import CBGAN, CPU, FREE, plan_of, registry, run_of, same, steps

MEDIANS = compiling._medians

ON: dict[str, Any] = {"run": {"accelerate": ["profile/compile"]}}
SNDCGAN: dict[str, Any] = {
    "networks": {
        "generator": {"use": "standard/sndcgan-generator", "width": 0.05},
        "discriminator": {"use": "standard/sndcgan-discriminator", "width": 0.05},
    }
}


def told_of(run: Run) -> str:
    """Compile a run's networks, and return what is told of it."""
    told: list[str] = []
    assert compile_networks(run, run.step, told.append) == run.step
    assert len(told) == 1
    return told[0]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend that traces and runs what it traced as it is; nothing is compiled to machine code, or timed."""
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    monkeypatch.setattr(compiling, "_medians", lambda *_: (0.02, 0.01))
    torch.compiler.reset()


LOOKAHEAD: dict[str, Any] = {"loop": {"use": "probe/lookahead", "k": 2}}


@pytest.mark.parametrize("table", [{}, CBGAN, FREE, LOOKAHEAD], ids=["plain", "class balance", "free replay", "lookahead"])
def test_a_compiled_run_is_the_eager_one_and_goes_on_from_where_it_was(table: dict[str, Any]) -> None:
    eager, compiled = run_of(SNDCGAN, table), run_of(SNDCGAN, table)
    steps(eager, 2)
    steps(compiled, 2)
    assert told_of(compiled).startswith("on, after")
    assert eager.tensors().keys() == compiled.tensors().keys()
    assert same(steps(eager, 3), steps(compiled, 3)) == []
    assert eager.counters() == compiled.counters()


def test_a_trial_leaves_no_trace_in_what_a_loop_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Alternating.iteration

    def iteration(self: Any, run: Run) -> None:
        self.discriminator_steps = 3 - self.discriminator_steps
        plain(self, run)

    monkeypatch.setattr(Alternating, "iteration", iteration)
    eager, compiled = run_of(SNDCGAN), run_of(SNDCGAN)
    assert told_of(compiled).startswith("on, after")
    assert compiled.modules()["loop"].discriminator_steps == 1
    assert same(steps(eager, 3), steps(compiled, 3)) == []


def test_networks_are_really_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        graphs.append(len(graph.graph.nodes))
        return graph

    monkeypatch.setattr(compiling, "BACKEND", backend)
    told_of(run_of(SNDCGAN))
    assert len(graphs) >= 2  # the generator and the discriminator


def refused(run: Run, *tables: dict[str, Any]) -> str:
    said = told_of(run)
    assert same(steps(run, 2), steps(run_of(SNDCGAN, *tables), 2)) == []
    return said


def test_a_compiler_that_fails_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_graph: Any, _inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler here.\nAnd a long story.")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    said = refused(run_of(SNDCGAN))
    assert said.startswith("off: it fails here (")
    assert "\n" not in said


def test_a_compiler_that_computes_something_else_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: torch.fx.GraphModule, _inputs: Any) -> Any:
        return lambda *tensors: [1.1 * out if torch.is_tensor(out) and out.requires_grad else out for out in graph(*tensors)]

    monkeypatch.setattr(compiling, "BACKEND", wrong)
    said = refused(run_of(SNDCGAN))
    assert "compiled networks give the loss" in said


def test_compiled_networks_that_take_longer_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_medians", lambda *_: (0.0172, 0.0271))
    run = run_of(SNDCGAN)
    said = refused(run)
    assert said == "off: compiled networks are no faster (27.1 ms an iteration and 17.2 ms without, medians of 5)"
    assert run.choices == {"profile/compile": "off"}
    assert not any("forward" in vars(module) for module in run.modules().values())


def test_both_kinds_of_iterations_are_timed_in_turn_and_taken_back() -> None:
    kinds: list[bool] = []
    plain, timed = run_of(SNDCGAN), run_of(SNDCGAN)
    modules = [*timed.networks.values()]

    def step() -> None:
        kinds.append(all("forward" in vars(module) for module in modules))
        timed.step()

    assert all(seconds > 0 for seconds in MEDIANS(timed, step, modules, [module.forward for module in modules]))
    assert kinds == [False, True] * compiling.TIMED
    assert same(plain, timed) == []


@pytest.mark.parametrize("choice", ["on", "off"])
def test_the_choice_of_a_run_holds_wherever_it_goes_on(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(*_: object) -> tuple[float, float]:
        raise AssertionError("it is chosen already")

    monkeypatch.setattr(compiling, "_medians", timed)
    run = run_of(SNDCGAN)
    run.choices = {"profile/compile": choice}
    said = told_of(run)
    assert re.fullmatch({"on": r"on, after \d+ s, as when the run began", "off": "off: as when the run began"}[choice], said)
    assert run.choices == {"profile/compile": choice}
    assert same(steps(run_of(SNDCGAN), 2), steps(run, 2)) == []


def test_a_compiler_that_is_missing_where_a_run_goes_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_graph: Any, _inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler here")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    run = run_of(SNDCGAN)
    run.choices = {"profile/compile": "on"}
    said = refused(run)
    assert said.startswith("off: it fails here (")
    assert said.endswith(", though the run began compiled")
    assert run.choices == {"profile/compile": "on"}


def test_a_discriminator_whose_gradients_a_term_takes_stays_eager() -> None:
    penalty = {"losses": {"penalty": {"use": "standard/gradient-penalty"}}}
    said = refused(run_of(SNDCGAN, penalty), penalty)
    assert said.endswith(", but for the discriminator: losses.penalty takes gradients of its gradients")


def test_what_came_of_it_is_told_and_kept_beside_the_run(tmp_path: Path) -> None:
    told = Watcher()
    train(plan_of(SNDCGAN, ON).recipe, registry(), tmp_path, device=CPU, progress=told)
    status = json.loads((tmp_path / "environment.json").read_text())["accelerators"]["profile/compile"]
    assert status.startswith("on, after")
    assert f"profile/compile is {status}" in told.told
