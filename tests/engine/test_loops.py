"""Update rules: what they remember is saved, restored, and shared by processes; each run has one of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import gancore
from gancore import GancoreError
from gancore.engine import Run
from gancore.training import open_run, train
from gancore.training.run_folder import checkpoints
from tests.hosts import CPU, plan_of, registry, run_of, same, steps
from tests.probe.parts import Lookahead

LOOKAHEAD: dict[str, Any] = {"loop": {"use": "probe/lookahead", "k": 3}}


def test_lookahead_goes_back_towards_its_slow_weights() -> None:
    run, plain = run_of(LOOKAHEAD), run_of()
    start = run.players["generator"].parameters[0].detach().clone()
    steps(run, 2)
    fast = steps(plain, 2).players["generator"].parameters[0]
    assert torch.equal(run.players["generator"].parameters[0], fast)
    steps(run, 1)
    fast = steps(plain, 1).players["generator"].parameters[0]
    assert torch.equal(run.players["generator"].parameters[0], start.lerp(fast, 0.5))


def test_a_loop_that_remembers_is_resumed_to_the_last_bit(tmp_path: Path) -> None:
    recipe = plan_of({**LOOKAHEAD, "run": {"checkpoint_every": 4, "sample_every": 0}}).recipe
    whole = train(recipe, registry(), tmp_path / "whole", device=CPU)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    checkpoints(tmp_path / "cut")[-1].unlink()
    resumed = train(recipe, registry(), tmp_path / "cut", device=CPU, resume=True)
    assert same(whole, resumed) == []
    assert int(open_run(tmp_path / "cut", registry(), CPU).modules()["loop"].done) == 8
    assert "loop/done" in whole.tensors()


def test_a_loop_without_state_leaves_no_trace_in_a_checkpoint() -> None:
    assert [name for name in run_of().tensors() if name.startswith("loop")] == []


def test_runs_of_one_plan_share_no_loop() -> None:
    plan = plan_of(LOOKAHEAD)
    first, second = Run(plan, CPU), Run(plan, CPU)
    steps(first, 3)
    assert int(second.modules()["loop"].done) == 0
    assert same(first, steps(second, 3)) == []


def test_another_loops_checkpoint_is_refused() -> None:
    run = run_of()
    with pytest.raises(GancoreError, match="it differs in loop"):
        run.restore(run_of(LOOKAHEAD).tensors(), run.counters())


class Unready(Lookahead):
    """Says nothing to its base class before it remembers."""

    def __init__(self) -> None:
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))
        self.k, self.alpha = 2, 0.5


class Random(gancore.Loop):
    """Starts from a drawn number."""

    def __init__(self) -> None:
        self.register_buffer("start", torch.rand(()))


def test_a_loop_is_a_module_whether_or_not_its_constructor_says_so() -> None:
    assert list(Unready().state_dict()) == ["done"]


def test_what_a_loop_draws_is_a_function_of_the_seed() -> None:
    plan = plan_of()
    drawing = attrs.evolve(plan, loop=attrs.evolve(plan.loop, cls=Random))
    one, two = (Run(drawing, CPU) for _ in range(2))
    assert torch.equal(one.modules()["loop"].start, two.modules()["loop"].start)
