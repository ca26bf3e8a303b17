"""Where a training's time went: training, evaluation, and the share of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gancore_training.progress import Clock
from gancore_training.run_folder import RunFolder


def told(folder: RunFolder) -> str:
    return Clock(folder, 0).told()


def folder_of(path: Path, log: list[dict[str, Any]], scores: list[dict[str, Any]]) -> RunFolder:
    folder = RunFolder(path)
    for file, lines in ((folder.log, log), (folder.scores, scores)):
        if lines:
            file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def timed(*pairs: tuple[int, Any]) -> list[dict[str, Any]]:
    return [{"iteration": iteration, "seconds": seconds} for iteration, seconds in pairs]


def test_training_is_the_last_line_of_the_log_and_evaluation_the_sum_of_the_scores(tmp_path: Path) -> None:
    log = [*timed((10, 5.0)), {"iteration": 20, "seconds": 12.0, "other_seconds": 4.0}]
    folder = folder_of(tmp_path, log, timed((10, 1.0), (20, 3.0)))
    assert told(folder) == "trained 12 s, evaluation 4 s (20 % of the wall clock), samples and checkpoints 4 s"


def test_a_later_evaluation_of_the_same_iteration_is_not_the_trainings(tmp_path: Path) -> None:
    assert "evaluation 3 s (20 %" in told(folder_of(tmp_path, timed((20, 12.0)), timed((20, 3.0), (20, 50.0))))


def test_a_resumed_training_counts_what_it_kept_of_the_first_part(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, timed((10, 5.0), (20, 10.0), (30, 15.0)), timed((10, 1.0), (20, 1.0), (30, 1.0)))
    (tmp_path / "samples").mkdir()
    folder.forget_after(20)
    assert told(folder).startswith("trained 10 s, evaluation 2 s")
    folder.append(folder.log, {"iteration": 30, "seconds": 16.0})
    folder.append(folder.scores, {"iteration": 30, "seconds": 2.0})
    assert told(folder).startswith("trained 16 s, evaluation 4 s")


def test_what_was_not_measured_is_not_shown(tmp_path: Path) -> None:
    assert told(RunFolder(tmp_path)) == "trained 0 s, samples and checkpoints 0 s"


@pytest.mark.parametrize("damaged", [None, "soon", float("nan"), -3.0, [1]])
def test_a_damaged_time_counts_nothing(tmp_path: Path, damaged: Any) -> None:
    folder = folder_of(tmp_path, timed((5, 2.5)), timed((2, damaged), (5, 1.0)))
    assert told(folder).startswith("trained 2.5 s, evaluation 1 s")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.25, "0.25 s"), (59.4, "59.4 s"), (100.4, "1 min 40 s"), (3599.6, "1 h 0 min"), (7500.0, "2 h 5 min"), (2e5, "2 d 7 h")],
)
def test_a_long_time_is_shown_in_its_two_largest_units(tmp_path: Path, seconds: float, shown: str) -> None:
    assert told(folder_of(tmp_path, timed((5, seconds)), [])).startswith(f"trained {shown}, ")


@pytest.mark.parametrize(("evaluation", "shown"), [(0.1, "under 1 %"), (1.0, "1 %"), (100.0, "50 %")])
def test_a_small_share_is_not_nothing(tmp_path: Path, evaluation: float, shown: str) -> None:
    folder = folder_of(tmp_path, timed((5, 100.0)), timed((5, evaluation)))
    assert f"({shown} of the wall clock)" in told(folder)
