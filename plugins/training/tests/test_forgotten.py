"""State that a checkpoint would forget ends a training; numbers that components keep go on where they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from gancore_training import train

import gancore
from gancore import GancoreError
from gancore.recipe import merge
from gancore.recipe.recipe import check_table
from plugins.training.tests.test_unsaved import REGISTRY, KeepingLoop, keeping, kept_by
from tests.hosts import CPU, GAME


def test_a_counting_loop_is_resumed_from_its_file(tmp_path: Path) -> None:
    table = merge(GAME, {**keeping("loops", "number"), "run": {"iterations": 6, "checkpoint_every": 3, "keep_checkpoints": 0}})
    recipe = check_table(table, REGISTRY, name="test")
    whole = train(recipe, REGISTRY, tmp_path / "run", device=CPU)
    (tmp_path / "run" / "checkpoints" / "00000006.safetensors").unlink()
    resumed = train(recipe, REGISTRY, tmp_path / "run", device=CPU, resume=True)
    assert kept_by(resumed, "loops") == kept_by(whole, "loops") == 6


def test_a_training_is_refused_after_its_first_iteration(tmp_path: Path) -> None:
    recipe = check_table(merge(GAME, {**keeping("loops", "object"), "run": {"log_every": 100}}), REGISTRY, name="test")
    with pytest.raises(GancoreError, match="changes kept") as refused:
        train(recipe, REGISTRY, tmp_path / "run", device=CPU)
    assert len(str(refused.value)) <= 400
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_what_changes_later_is_refused_before_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeepingLoop, "change", lambda _: None)
    plain = KeepingLoop.iteration

    def iteration(self: KeepingLoop, run: gancore.Run) -> None:
        self.kept = {1} if run.iteration >= 4 else False
        plain(self, run)

    monkeypatch.setattr(KeepingLoop, "iteration", iteration)
    table = {**keeping("loops", "flag"), "run": {"log_every": 100, "checkpoint_every": 4}}
    with pytest.raises(GancoreError, match="changes kept"):
        train(check_table(merge(GAME, table), REGISTRY, name="test"), REGISTRY, tmp_path / "run", device=CPU)
    assert [path.stem for path in (tmp_path / "run").glob("checkpoints/*")] == ["00000004"]
