"""What ends a training from outside, where it looks at nothing else for long, and what is there afterwards."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from gancore_training import checkpoint
from gancore_training.evaluate import Evaluator
from gancore_training.outer_loop import OuterLoop
from gancore_training.prerequisites import ensure, training_recipe
from gancore_training.stopping import SIGNALS, Interrupted, Stop
from gancore_training.trainer import open_run, train
from torch import Tensor

from gancore import GancoreError
from gancore.engine.run import Run
from gancore.files import toml
from gancore.parallel import distributed
from gancore.recipe import Recipe
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from tests.hosts import BALANCE, CPU, GAME, plan_of, registry, run_of, same
from tests.standin.data import Digits
from tests.standin.metrics import MeanDistance

ROOT = Path(__file__).resolve().parents[3]
METRIC: dict[str, Any] = {
    "run": {"evaluate_every": 4, "checkpoint_every": 6, "sample_every": 2},
    "networks": {"classifier": {"use": "host/classifier"}},
    "metrics": {"fid": {"use": "standard/fid", "network": "classifier"}},
    "evaluation": {"samples": 64, "batch_size": 16},
}


def recipe_of(*tables: dict[str, Any]) -> Recipe:
    table = GAME
    for over in tables:
        table = merge(table, over)
    return check_table(table, registry(), name="test")


def trained(out: Path, *tables: dict[str, Any], resume: bool = False) -> Run:
    return train(recipe_of(*tables), registry(), out, device=CPU, resume=resume)


def written(out: Path) -> tuple[Any, ...]:
    """What a run has written, the seconds left out."""
    scores = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    samples = [path.read_bytes() for path in sorted((out / "samples").iterdir())]
    return [(e["iteration"], e["scores"]) for e in scores], [(e["iteration"], e["losses"]) for e in log], files, samples


def saved(out: Path) -> list[int]:
    return [int(path.stem) for path in checkpoint.checkpoints(out)]


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_that_warns_or_ends_saves_first(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, before = Run.step, [signal.getsignal(each) for each in SIGNALS]

    def stepped(run: Run) -> None:
        step(run)
        if run.iteration == 3:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Run, "step", stepped)
    with pytest.raises(Interrupted) as stopped:
        trained(tmp_path / "run")
    assert stopped.value.saved == tmp_path / "run" / "checkpoints" / "00000003.safetensors"
    assert saved(tmp_path / "run") == [3]
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_what_a_cluster_and_a_terminal_send_is_heard() -> None:
    names = {"SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT"}
    assert names <= {signal.Signals(number).name for number in SIGNALS}


def test_only_a_second_ctrl_c_that_is_no_echo_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("gancore_training.stopping.time.monotonic", lambda: now)
    stop = Stop()
    with stop.listening():
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        now += 5
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt) as ended:
            os.kill(os.getpid(), signal.SIGINT)
    assert not isinstance(ended.value, Interrupted)


def test_a_terminal_that_goes_away_under_nohup_ends_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = Stop()
        with stop.listening():
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.asked
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("method", "iteration"), [("update_real", 4), ("update", 4), ("update", 8), ("compute", 4), ("compute", 8)]
)
def test_a_signal_in_an_evaluation_ends_it_there_and_the_scores_are_made_on_resume(
    method: str, iteration: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Iteration 4 has no regular checkpoint; 8 is the last."""
    calls: list[int] = []
    called = getattr(MeanDistance, method)

    @functools.wraps(called)
    def signaled(self: MeanDistance, **tensors: Tensor) -> Any:
        if run_at[-1] == iteration:
            calls.append(iteration)
            os.kill(os.getpid(), signal.SIGTERM)
        return called(self, **tensors)

    def stepped(run: Run) -> None:
        step(run)
        run_at.append(run.iteration)

    run_at = [0]
    step = Run.step
    with monkeypatch.context() as patch:
        patch.setattr(MeanDistance, method, signaled)
        patch.setattr(Run, "step", stepped)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run", METRIC)
    assert len(calls) == 1, "the evaluation went on"
    assert saved(tmp_path / "run")[-1] == iteration
    run = trained(tmp_path / "run", METRIC, resume=True)
    assert same(run, trained(tmp_path / "whole", METRIC)) == []
    assert written(tmp_path / "run") == written(tmp_path / "whole")


def test_a_killed_evaluation_costs_no_iteration_and_is_made_on_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "__call__", killed)
        with pytest.raises(Killed):
            trained(tmp_path / "run", METRIC)
    assert saved(tmp_path / "run") == [4]
    trained(tmp_path / "run", METRIC, resume=True)
    trained(tmp_path / "whole", METRIC)
    assert written(tmp_path / "run") == written(tmp_path / "whole")


def test_a_sample_that_was_not_drawn_is_drawn_on_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"run": {"sample_every": 3, "checkpoint_every": 3}}

    def signaled(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        raise AssertionError("the drawing went on")

    with monkeypatch.context() as patch:
        patch.setattr(OuterLoop, "_sample", signaled)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run", settings)
    trained(tmp_path / "run", settings, resume=True)
    assert [path.stem for path in sorted((tmp_path / "run" / "samples").glob("0*.png"))] == ["00000003", "00000006", "00000008"]


def test_samples_of_which_nobody_wrote_what_they_show_are_drawn_again_on_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"run": {"sample_every": 4, "checkpoint_every": 4}}
    trained(tmp_path / "whole", settings)

    def signaled(picture: Path, *_: Any) -> None:
        if picture.stem != "real":
            os.kill(os.getpid(), signal.SIGHUP)
            raise AssertionError("the drawing went on")

    with monkeypatch.context() as patch:
        patch.setattr("gancore_training.outer_loop.describe", signaled)
        with pytest.raises(Interrupted):
            trained(tmp_path / "run", settings)
    trained(tmp_path / "run", settings, resume=True)
    files = [{path.name: path.read_bytes() for path in (tmp_path / name / "samples").iterdir()} for name in ("whole", "run")]
    assert files[0] == files[1]
    assert len(files[0]) == 6


def test_of_several_processes_all_stop_in_an_evaluation_when_one_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator, stop = Evaluator(run_of(METRIC)), Stop()
    heeded: list[bool] = []

    def another_was_asked(flag: bool) -> bool:
        heeded.append(flag)
        return len(heeded) == 6

    monkeypatch.setattr("gancore_training.stopping.any_of", another_was_asked)
    with pytest.raises(Interrupted):
        evaluator(stop.heed)
    assert heeded == [False] * 6, "this process was not asked"
    with monkeypatch.context() as patch:
        patch.setattr(distributed, "world_size", lambda: 2)
        with stop.listening(), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked


def classifier(path: Path, iterations: int = 6) -> dict[str, Any]:
    """Write the recipe of a classifier; return the table of a game that needs it trained first."""
    table = {
        "run": {"iterations": iterations, "batch_size": 16, "checkpoint_every": 2, "log_every": 1},
        "data": {"use": "standard/digits"},
        "loop": {"use": "standard/supervised"},
        "networks": {"classifier": {"use": "standard/small-cnn"}},
        "losses": {"loss": {"use": "standard/cross-entropy"}},
    }
    path.write_text(toml.dumps(table))
    return merge(BALANCE, {"networks": {"classifier": {"use": "standard/small-cnn", "trained_by": str(path)}}})


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("stop", [signal.SIGTERM, None])
def test_a_stopped_training_of_what_is_needed_first_goes_on_where_it_was(
    stop: int | None, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    table, step, steps = classifier(tmp_path / "classifier.toml"), Run.step, []

    def stepped(run: Run) -> None:
        step(run)
        steps.append(run.iteration)
        if len(steps) == 5:
            if stop is None:
                raise Killed
            os.kill(os.getpid(), stop)

    monkeypatch.setattr(Run, "step", stepped)
    with pytest.raises(Interrupted if stop else Killed) as stopped:
        trained(tmp_path / "run", table)
    (folder,) = (cache / "trained").iterdir()
    assert saved(folder)[-1] == (5 if stop else 4)
    if isinstance(stopped.value, Interrupted):
        assert stopped.value.saved == checkpoint.checkpoints(folder)[-1]
    trained(tmp_path / "run", table, resume=True)
    assert steps == [1, 2, 3, 4, 5, *([6] if stop else [5, 6]), *range(1, 9)]
    assert [folder] == list((cache / "trained").iterdir())
    fresh = tmp_path / "fresh"
    recipe = training_recipe(plan_of(table), "networks.classifier")
    whole = train(recipe, registry(), fresh, device=CPU)
    assert same(open_run(folder, registry(), CPU), whole) == []


def test_what_is_trained_first_lies_in_one_place_whoever_trains_it(cache: Path, tmp_path: Path) -> None:
    table = classifier(tmp_path / "classifier.toml")
    folders: list[dict[str, Any]] = []

    def first(_: Recipe, **places: Any) -> None:
        folders.append(places)
        raise GancoreError("no more.")

    with pytest.raises(GancoreError, match="no more"):
        ensure(plan_of(table), first, lambda _: None, lambda _: 0.0)
    assert folders == [{"out": folders[0]["out"], "resume": True}]
    assert str(os.getpid()) not in folders[0]["out"].name
    assert folders[0]["out"].parent == cache / "trained"


def test_a_run_that_was_killed_while_it_was_begun_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gancore_training.run_folder import RunFolder

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "describe", killed)
        with pytest.raises(Killed):
            trained(tmp_path / "run")
    trained(tmp_path / "run", resume=True)
    assert saved(tmp_path / "run") == [8]


@pytest.mark.parametrize(
    "name",
    ["recipe.toml", "log.jsonl", "scores.jsonl", "samples", "weights", "checkpoints", "checkpoints/00000008.safetensors"],
)
def test_links_in_a_runs_folder_are_not_followed(name: str, tmp_path: Path) -> None:
    trained(tmp_path / "run", METRIC)
    path, elsewhere = tmp_path / "run" / name, tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = sorted((each, each.stat().st_mtime_ns) for each in elsewhere.rglob("*")), elsewhere.stat().st_mtime_ns
    sentence = f"{name} is a link, and a run's files lie in its folder"
    with pytest.raises(GancoreError, match=sentence):
        open_run(tmp_path / "run", registry(), CPU)
    with pytest.raises(GancoreError, match=sentence):
        trained(tmp_path / "run", METRIC, resume=True)
    assert (sorted((each, each.stat().st_mtime_ns) for each in elsewhere.rglob("*")), elsewhere.stat().st_mtime_ns) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("name", ["log.jsonl", "scores.jsonl", "recipe.toml", "checkpoints/00000008.safetensors"])
def test_a_pipe_in_a_runs_folder_is_not_waited_for(name: str, tmp_path: Path) -> None:
    trained(tmp_path / "run", METRIC)
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    for work in (lambda: open_run(tmp_path / "run", registry(), CPU), lambda: trained(tmp_path / "run", METRIC, resume=True)):
        with pytest.raises(GancoreError, match=f"{name} is no file but a pipe, a socket or a device; remove it"):
            work()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_images_that_are_not_finite_are_neither_scored_nor_shown(value: float, tmp_path: Path) -> None:
    run = run_of(METRIC)
    evaluator = Evaluator(run)
    evaluator()
    with torch.no_grad():
        next(iter(run.generator().parameters())).fill_(value)
    sentence = "test: what the generator makes after 0 iterations is not finite: the training has diverged"
    with pytest.raises(GancoreError, match=sentence):
        evaluator()
    with pytest.raises(GancoreError, match=sentence):
        run.generate(run.latent(4, "test"))


def test_classes_and_features_that_are_not_finite_are_not_scored() -> None:
    run = run_of(METRIC)
    with torch.no_grad():
        run.networks["classifier"].linear.weight[0, 0] = float("nan")
    with pytest.raises(GancoreError, match="test: what the network 'classifier' makes of images is not finite"):
        Evaluator(run)()


def test_a_generator_that_diverges_between_two_lines_of_the_log_gets_no_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step: Callable[[Run], None] = Run.step

    def diverged(run: Run) -> None:
        step(run)
        if run.iteration == 3:
            for network in (run.networks["generator"], run.generator()):
                for parameter in network.parameters():
                    parameter.data.fill_(float("nan"))

    monkeypatch.setattr(Run, "step", diverged)
    with pytest.raises(GancoreError, match="not finite"):
        trained(tmp_path / "run", METRIC, {"run": {"log_every": 8}})
    assert not (tmp_path / "run" / "scores.jsonl").exists()


def test_ctrl_c_in_a_long_evaluation_of_the_command_line_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(toml.dumps(merge(merge(GAME, METRIC), {"evaluation": {"samples": 99_999_999}})))
    command = [sys.executable, "-m", "plugins.training.tests.command", "train", str(path), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "samples" / "00000004.png").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"the newest checkpoint is {tmp_path}/run/checkpoints/00000004.safetensors." in output
    assert saved(tmp_path / "run") == [4]


def test_what_is_trained_first_for_longer_is_trained_anew_and_of_the_same_data_elsewhere_is_not(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def placed(self: Digits, *, image_size: int = 8, path: str = "") -> None:
        self.image_size = image_size

    monkeypatch.setattr(Digits, "__init__", placed)
    folders = set()

    def first(_: Recipe, *, out: Path, resume: bool) -> None:
        folders.add(out)
        raise GancoreError(f"no more, but {resume}.")

    path = tmp_path / "classifier.toml"
    changes: list[tuple[dict[str, str], int]] = [({}, 2), ({"path": "a"}, 2), ({"path": "b"}, 2), ({}, 3)]
    for data, iterations in changes:
        # The data are inherited.
        table = merge(classifier(path, iterations), {"data": data})
        with pytest.raises(GancoreError, match="no more"):
            ensure(plan_of(table), first, lambda _: None, lambda _: 0.0)
    assert len(folders) == 2
