"""Loops that remember are resumed from a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from gancore_training import open_run, train
from gancore_training.run_folder import checkpoints

from tests.engine.test_loops import LOOKAHEAD
from tests.hosts import CPU, plan_of, registry, same


def test_a_loop_that_remembers_is_resumed_to_the_last_bit(tmp_path: Path) -> None:
    recipe = plan_of({**LOOKAHEAD, "run": {"checkpoint_every": 4, "sample_every": 0}}).recipe
    whole = train(recipe, registry(), tmp_path / "whole", device=CPU)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    checkpoints(tmp_path / "cut")[-1].unlink()
    resumed = train(recipe, registry(), tmp_path / "cut", device=CPU, resume=True)
    assert same(whole, resumed) == []
    assert int(open_run(tmp_path / "cut", registry(), CPU).modules()["loop"].done) == 8
    assert "loop/done" in whole.tensors()
