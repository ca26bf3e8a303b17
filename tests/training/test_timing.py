"""Where a training's time went: training, evaluation, and the share of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from gancore.training.run_folder import RunFolder
from gancore.training.timing import WallClock, read_wall_clock


def folder_of(path: Path, log: list[dict[str, Any]], scores: list[dict[str, Any]]) -> RunFolder:
    folder = RunFolder(path)
    for file, lines in ((folder.log, log), (folder.scores, scores)):
        if lines:
            file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def timed(*pairs: tuple[int, Any]) -> list[dict[str, Any]]:
    return [{"iteration": iteration, "seconds": seconds} for iteration, seconds in pairs]


def test_training_is_the_last_line_of_the_log_and_evaluation_the_sum_of_the_scores(tmp_path: Path) -> None:
    spent = read_wall_clock(folder_of(tmp_path, timed((10, 5.0), (20, 12.0)), timed((10, 1.0), (20, 3.0))))
    assert spent == WallClock(12.0, 4.0)
    assert spent.share == pytest.approx(0.25)
    assert spent.text() == "trained 12.0 s, evaluation 4.0 s (25 % of the wall clock)"
    assert attrs.evolve(spent, other=4.0).text() == (
        "trained 12.0 s, evaluation 4.0 s (20 % of the wall clock), samples and checkpoints 4.0 s"
    )


def test_a_later_evaluation_of_the_same_iteration_is_not_the_trainings(tmp_path: Path) -> None:
    assert read_wall_clock(folder_of(tmp_path, timed((20, 12.0)), timed((20, 3.0), (20, 50.0)))).evaluation == 3.0


def test_a_resumed_training_counts_what_it_kept_of_the_first_part(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, timed((10, 5.0), (20, 10.0), (30, 15.0)), timed((10, 1.0), (20, 1.0), (30, 1.0)))
    (tmp_path / "samples").mkdir()
    folder.forget_after(20)
    assert read_wall_clock(folder) == WallClock(10.0, 2.0)
    folder.append(folder.log, {"iteration": 30, "seconds": 16.0})
    folder.append(folder.scores, {"iteration": 30, "seconds": 2.0})
    assert read_wall_clock(folder) == WallClock(16.0, 4.0)


def test_what_was_not_measured_is_not_shown(tmp_path: Path) -> None:
    assert read_wall_clock(RunFolder(tmp_path)) == WallClock(0.0, 0.0)
    assert WallClock(0.0, 0.0).share is None
    assert read_wall_clock(folder_of(tmp_path, timed((5, 2.5)), [])).text() == "trained 2.5 s"


@pytest.mark.parametrize("damaged", [None, "soon", float("nan"), -3.0, [1]])
def test_a_damaged_time_counts_nothing(tmp_path: Path, damaged: Any) -> None:
    assert read_wall_clock(folder_of(tmp_path, timed((5, 2.5)), timed((2, damaged), (5, 1.0)))) == WallClock(2.5, 1.0)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (99.94, "99.9 s"), (99.96, "1 min 40 s"), (3599.6, "1 h 0 min"), (7500.0, "2 h 5 min")],
)
def test_a_long_time_is_shown_in_minutes_and_hours(seconds: float, shown: str) -> None:
    assert WallClock(seconds, 0.0).text() == f"trained {shown}"


@pytest.mark.parametrize(("evaluation", "shown"), [(0.1, "under 1 %"), (1.0, "1 %"), (100.0, "50 %")])
def test_a_small_share_is_not_nothing(evaluation: float, shown: str) -> None:
    assert f"({shown} of the wall clock)" in WallClock(100.0, evaluation).text()
