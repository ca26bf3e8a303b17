"""Which checkpoints are kept, the best by a score among them, and which is taken when one is asked for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import gancore_training
import pytest
from gancore_training.run_folder import RunFolder, checkpoints
from gancore_training.stored import checkpoint_at
from gancore_training.trainer import open_run, train

import gancore
from gancore import GancoreError
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from gancore.registry import Registry
from tests.cli.test_cli import run
from tests.hosts import CPU, GAME, installed, registry

ROOT = Path(__file__).resolve().parents[3]
VALUES = {1: 5.0, 2: 1.0, 3: 4.0, 4: 3.0, 5: 1.0, 6: 2.0, 7: 0.5, 8: 0.5}
"""What is scored after each iteration."""

KEPT = {
    "run": {"iterations": 6, "checkpoint_every": 1, "evaluate_every": 1, "keep_checkpoints": 1, "keep_best": "listed/value"},
    "metrics": {"listed": {"use": "scores/listed"}},
}


class Listed(gancore.Metric):
    """Scores that stand in a list."""

    better: ClassVar[Mapping[str, str]] = {"value": "lower", "high": "higher"}

    def protocol(self) -> dict[str, Any]:
        return {}

    def score_run(self, run: gancore.Run) -> dict[str, Any]:
        return {"value": VALUES[run.iteration], "high": VALUES[run.iteration], "untold": 1.0}


class Other(Listed):
    """The same by another protocol."""

    def protocol(self) -> dict[str, Any]:
        return {"other": True}


@gancore.hookimpl
def gancore_metrics() -> Iterator[gancore.Component]:
    yield gancore.Component("listed", f"{__name__}:Listed", "Scores that stand in a list")
    yield gancore.Component("other", f"{__name__}:Other", "The same by another protocol")


def plugins() -> Registry:
    module = ModuleType("scores")
    module.gancore_metrics = gancore_metrics  # type: ignore[attr-defined]
    return registry(training=gancore_training, scores=module)


def trained(out: Path, *tables: dict[str, Any], resume: bool = False) -> Path:
    table = merge(GAME, KEPT)
    for over in tables:
        table = merge(table, over)
    train(check_table(table, plugins(), name="kept"), plugins(), out, device=CPU, resume=resume)
    return out


def stored(out: Path) -> list[int]:
    return [int(path.stem) for path in checkpoints(out)]


def length(iterations: int) -> dict[str, Any]:
    return {"run": {"iterations": iterations}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight iterations that keeps all checkpoints, for looking at."""
    return trained(tmp_path_factory.mktemp("whole") / "run", {"run": {"iterations": 8, "keep_checkpoints": 0}})


@pytest.mark.parametrize(("iterations", "kept"), [(1, [1]), (3, [2, 3]), (6, [2, 6])])
def test_the_best_checkpoint_is_kept_beside_the_newest(tmp_path: Path, iterations: int, kept: list[int]) -> None:
    # Of the equal scores of iterations 2 and 5 the first is the best.
    assert stored(trained(tmp_path, length(iterations))) == kept


def test_a_higher_score_is_better_where_its_metric_says_so(tmp_path: Path) -> None:
    assert stored(trained(tmp_path, {"run": {"keep_best": "listed/high"}})) == [1, 6]


def test_without_keep_best_only_the_newest_are_kept(tmp_path: Path) -> None:
    assert stored(trained(tmp_path, {"run": {"keep_best": ""}})) == [6]


def test_a_checkpoint_that_is_only_scored_is_kept_where_it_is_the_best(tmp_path: Path) -> None:
    assert stored(trained(tmp_path, {"run": {"checkpoint_every": 0}})) == [2, 6]


def test_what_is_kept_is_the_same_where_a_run_was_resumed(tmp_path: Path) -> None:
    trained(tmp_path / "resumed", length(3))
    trained(tmp_path / "resumed", length(4), resume=True)
    trained(tmp_path / "resumed", resume=True)
    trained(tmp_path / "whole")
    assert stored(tmp_path / "resumed") == stored(tmp_path / "whole") == [2, 6]
    tensors = [open_run(tmp_path / name, plugins(), CPU, at="best").tensors() for name in ("resumed", "whole")]
    assert all(bool((tensors[0][name] == tensors[1][name]).all()) for name in tensors[1])


KILLED = """
import os, signal, sys
from pathlib import Path
from gancore_training import checkpoint, evaluate
from plugins.training.tests import test_stored
place, iteration, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
before = {"score": evaluate.Scores.write, "removal": Path.unlink}[place]
def write(scores, folder, now):
    if now == iteration:
        os.kill(os.getpid(), signal.SIGKILL)
    before(scores, folder, now)
def unlink(path, *words, **keys):
    if path.name == f"{iteration:08d}.safetensors":
        os.kill(os.getpid(), signal.SIGKILL)
    before(path, *words, **keys)
if place == "score":
    evaluate.Scores.write = write
else:
    Path.unlink = unlink
test_stored.trained(out)
"""


@pytest.mark.parametrize(("place", "iteration"), [("score", 2), ("removal", 1), ("removal", 3)])
def test_a_run_that_is_killed_keeps_the_best_when_it_goes_on(tmp_path: Path, place: str, iteration: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", KILLED, place, str(iteration), str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    trained(tmp_path / "run", resume=True)
    assert stored(tmp_path / "run") == [2, 6]
    assert open_run(tmp_path / "run", plugins(), CPU, at="best").iteration == 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"run": {"keep_best": "listed/valu"}},
            "kept: run.keep_best = 'listed/valu' is no score of its metrics (did you mean 'listed/value'?) (those that tell "
            "what is better: listed/high, listed/value).",
        ),
        ({"run": {"keep_best": "listed/untold"}}, "kept: run.keep_best = 'listed/untold' is no score of its metrics"),
        (
            {"metrics": {"listed": False}},
            "kept: run.keep_best = 'listed/value' is no score of its metrics (those that tell",
        ),
        ({"run": {"evaluate_every": 0}}, "kept: run.keep_best keeps nothing where only the last iteration is scored; set"),
    ],
)
def test_a_score_by_which_nothing_is_kept_is_refused_first(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(GancoreError) as refused:
        trained(tmp_path / "run", changes)
    assert str(refused.value).startswith(sentence)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("at", "iteration"),
    [(None, 8), ("3", 3), ("00000003", 3), ("best", 7), ("best:listed/value", 7), ("best:listed/high", 1)],
)
def test_the_checkpoint_that_is_asked_for_is_taken(whole: Path, at: str | None, iteration: int) -> None:
    opened = open_run(whole, plugins(), CPU, at=at)
    assert opened.iteration == iteration
    assert checkpoint_at(RunFolder(whole), at, "listed/value") == checkpoints(whole)[iteration - 1]


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        ("9", "stores no checkpoint of iteration 9, only of 1, 2, 3, 4, 5, 6, 7, 8."),
        ("soon", "--at 'soon' is no checkpoint; write an iteration, or best:SCORE, e.g. best:fid/fid."),
        ("-1", "--at '-1' is no checkpoint"),
        ("9" * 5000, "is no checkpoint; write an iteration"),
        ("worst:listed/value", "is no checkpoint; write an iteration"),
        (
            "best:listed/valeu",
            "no value of the score 'listed/valeu' that tells what is better (did you mean 'listed/value'?)",
        ),
        ("best:listed/untold", "has no value of the score 'listed/untold' that tells what is better"),
    ],
)
def test_what_is_no_stored_checkpoint_is_refused(whole: Path, at: str, sentence: str) -> None:
    with pytest.raises(GancoreError) as refused:
        open_run(whole, plugins(), CPU, at=at)
    assert sentence in str(refused.value)
    assert len(str(refused.value)) <= 400 + len(str(whole))


def test_scores_of_another_protocol_are_not_compared(whole: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    for path in checkpoints(whole):
        (tmp_path / "checkpoints" / path.name).touch()
    folder.scores.write_bytes((whole / "scores.jsonl").read_bytes())
    line = {"iteration": 4, "scores": {"listed/value": 0.1}, "better": {"listed/value": "lower"}}
    for broken in ({}, {"protocols": 3}, {"protocols": {"listed": 3}}, {"protocols": {"listed": {"id": "x"}}, "scores": {}}):
        folder.append(folder.scores, {**line, **broken})
    folder.append(folder.scores, {**line, "protocols": {"listed": {"id": "other"}}})
    folder.append(folder.scores, {**line, "protocols": {"listed": {"id": "other"}}, "scores": {"listed/value": float("nan")}})
    path = checkpoint_at(folder, "best:listed/value")
    assert path is not None
    assert path.name == "00000007.safetensors"


def test_commands_take_a_checkpoint(whole: Path, tmp_path: Path) -> None:
    with installed(plugins()):
        done = run("sample", whole, "--n", 2, "--at", "best", "--out", tmp_path / "x.png")
        assert done.stdout == f"2 images of iteration 7 are in {tmp_path / 'x.png'}\n"
        done = run("evaluate", whole, "--at", "3", "--set", "metrics.listed.use=other")
        assert done.exit_code == 0, done.output
        assert "listed/value                     4.0000" in done.output
        assert run("sample", whole, "--at", "77").exit_code == 2
    newest = json.loads((whole / "scores.jsonl").read_text().splitlines()[-1])
    assert newest["iteration"] == 3
    assert newest["scores"]["listed/value"] == 4.0
