"""What commands that train several runs do beside each other in one folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from gancore_report.trials import Trial, finished, share
from gancore_training import InUse, Progress
from gancore_training.lock import holding

from gancore import GancoreError
from tests.compose.hosts import GAME, plan_of


def test_what_another_process_had_and_ended_is_not_missed() -> None:
    others, ours = {"a", "b"}, list[str]()

    def begin(name: str) -> None:
        if name in others:
            # The other process gets on meanwhile: it ends one, and was killed in the other.
            others.clear()
            done.add("a")
            raise InUse(f"{name} is in use")
        ours.append(name)
        done.add(name)

    done = set[str]()
    share(["a", "b", "c"], done.__contains__, begin, Progress())
    assert ours == ["b", "c"]
    assert done == {"a", "b", "c"}


def test_a_run_is_begun_again_once_nobody_has_it() -> None:
    asked: list[str] = []

    def begin(name: str) -> None:
        asked.append(name)
        if name == "a" and asked.count("a") == 1:
            raise InUse("a is in use")
        done.add(name)

    done = set[str]()
    share(["a", "b"], done.__contains__, begin, Progress())
    assert asked == ["a", "b", "a"]


def test_what_others_keep_is_said_once_nothing_else_is_left() -> None:
    asked: list[str] = []

    def begin(name: str) -> None:
        asked.append(name)
        raise InUse(f"{name} is in use by process 3")

    assert share(["a", "b"], lambda _: False, begin, Progress()) == ["a", "b"]
    assert asked == ["a", "b"]


def test_a_folder_that_another_process_is_about_to_begin_is_no_fault(tmp_path: Path) -> None:
    plan = plan_of(base=GAME)
    trial = Trial.of(plan, "whole", 0, tmp_path)
    with holding(trial.folder.path):
        (trial.folder.path / "half-written").touch()
        assert not finished(trial, plan)
    with pytest.raises(GancoreError, match="holds other files and no run"):
        finished(trial, plan)
