"""Several processes, of several hosts perhaps, that share the runs of a table: which is done, running, failed and waiting."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from gancore_report.ablation import ablate
from gancore_report.executors import local
from gancore_report.states import Unfinished, summary
from gancore_training import Progress, checkpoint, entries, lock
from gancore_training.lock import holding
from PIL import Image

import gancore
from gancore import GancoreError
from gancore.cli.main import main
from gancore.files import toml
from gancore.files.tensors import read_tensors
from gancore.recipe.layers import merge
from gancore.recipe.recipe import check_table
from gancore.registry import Registry, registry
from tests.compose.hosts import CPU, installed
from tests.conftest import PLUGINS

GAME: dict[str, Any] = {
    "run": {
        "iterations": 6,
        "batch_size": 8,
        "latent_dim": 4,
        "precision": "float32",
        "log_every": 1,
        "sample_every": 0,
        "checkpoint_every": 2,
    },
    "data": {"use": "standard/digits"},
    "networks": {
        "generator": {"use": "standard/mlp-generator", "hidden": 8},
        "discriminator": {"use": "standard/mlp-discriminator", "hidden": 8},
    },
    "heads": {"adversarial": {"use": "standard/linear"}},
    "losses": {"adversarial": {"use": "standard/hinge"}, "penalty": {"use": "standard/gradient-penalty"}},
    "optimizers": {"generator": {"use": "adam"}, "discriminator": {"use": "adam"}},
    "metrics": {"novel": {"use": "dsgan/novelty", "seen": [0], "detector_iterations": 1, "detector_batch_size": 8}},
    "evaluation": {"samples": 8, "batch_size": 8},
}
DIVERGING: dict[str, Any] = {"optimizers": {"discriminator": {"use": "sgd", "lr": 1e38}}}


def ablated(out: Path, over: dict[str, Any] | None = None, **options: Any) -> Any:
    recipe = check_table(merge(GAME, over or {}), registry(), name="test")
    options = {"drops": ["losses.penalty"], "seeds": 2, "device": CPU, **options}
    return ablate(recipe, registry(), out, **options)


def weights(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {str(path.relative_to(out)): read_tensors(path)[0] for path in sorted(out.glob("*/weights/*.safetensors"))}


def same(one: Path, other: Path) -> bool:
    mine, theirs = weights(one), weights(other)
    assert len(mine) >= 8
    assert mine.keys() == theirs.keys()
    return all(value.equal(theirs[name][key]) for name, own in mine.items() for key, value in own.items())


# -- several processes -------------------------------------------------------------------------------------------------------


def take_part(host: str, out: Path, dies: bool) -> None:
    """Take part as a process of a host of its own, and die in the midst of a run perhaps."""
    torch.set_num_threads(1)
    lock.place = lambda: host  # type: ignore[assignment]
    platform.node = lambda: host
    if dies:
        save = checkpoint.save

        def saved(run: Any, folder: Path) -> None:
            save(run, folder)
            if run.iteration == 4:
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint.save = saved
    try:
        ablated(out)
    except Unfinished as error:
        (out / f"{host}.told").write_text("\n".join([str(error), *summary(error.states)]))


def test_two_at_a_time_of_which_one_dies_and_a_third_later_make_the_table_of_one(tmp_path: Path) -> None:
    several = multiprocessing.get_context("fork")
    out, alone = tmp_path / "out", tmp_path / "alone"
    out.mkdir()
    # First, so that what the others import is there when they begin.
    ablated(alone)
    both = [several.Process(target=take_part, args=(f"host{k}", out, k == 0)) for k in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [-signal.SIGKILL, 0]
    # The second has trained what was free, and knows no better than that the first one still trains its run.
    told = (out / "host1.told").read_text().splitlines()
    assert told[0].startswith("another process still trains 1 of the runs; ask again when it is done. The last: ")
    assert told[1] == "4 runs: 3 done, 1 running."
    assert "iteration 4 of 6, process" in told[2]
    assert " on host0, since " in told[2]
    assert not (out / "ablation.md").exists()
    # Until the dead one has shown no sign of life for long.
    (claim,) = out.glob("*/in-use")
    os.utime(claim, (0, 0))
    third = several.Process(target=take_part, args=("host2", out, False))
    third.start()
    third.join()
    assert third.exitcode == 0
    assert not (out / "host2.told").exists()
    assert (out / "ablation.md").read_text() == (alone / "ablation.md").read_text()
    assert same(alone, out)
    for run in alone.glob("*-[01]"):
        assert [entry["iteration"] for entry in entries(out / run.name / "log.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_what_is_done_running_and_waiting_is_told_with_the_table_so_far(tmp_path: Path) -> None:
    ablated(tmp_path, seeds=1)
    with holding(tmp_path / "whole-1"), pytest.raises(Unfinished, match="still trains 1 of the runs") as told:
        ablated(tmp_path, work=lambda _: None)
    assert summary(told.value.states)[0] == "4 runs: 2 done, 1 running, 1 waiting."
    assert f"  running: whole, seed 1: iteration 0 of 6, process {os.getpid()} on " in summary(told.value.states)[1]
    assert [len(row.runs) for row in told.value.partial.rows] == [1, 1]


# -- failures ----------------------------------------------------------------------------------------------------------------


def test_a_run_that_fails_ends_no_other_is_named_and_not_tried_again_unasked(tmp_path: Path) -> None:
    tried: list[str] = []
    options: dict[str, Any] = {"drops": ["optimizers.discriminator"], "progress": _Announced(tried)}
    table = ablated(tmp_path, DIVERGING, **options)
    assert [len(row.runs) for row in table.rows] == [0, 2]
    assert [note.split(":")[:2] for note in table.notes if note.startswith("failed")] == [
        ["failed", " whole, seed 0"],
        ["failed", " whole, seed 1"],
    ]
    assert "became " in table.notes[-1]
    assert "failed: whole, seed 1: test, seed 1: the loss" in (tmp_path / "ablation.md").read_text()
    assert json.loads((tmp_path / "ablation.json").read_text())["rows"][0]["scores"] == []
    before, number = (tmp_path / "ablation.md").read_text(), len(tried)
    assert number == 4
    ablated(tmp_path, DIVERGING, **options)
    assert len(tried) == number
    assert (tmp_path / "ablation.md").read_text() == before
    ablated(tmp_path, DIVERGING, retry=True, **options)
    assert len(tried) == number + 2


def test_a_failure_of_another_recipe_counts_no_more_and_damage_to_it_harms_nobody(tmp_path: Path) -> None:
    with pytest.raises(GancoreError, match=r"^test, seed 0: the loss .* All 4 runs failed; --retry trains them again"):
        ablated(tmp_path, DIVERGING)
    assert len(list(tmp_path.glob("*.failed.json"))) == 4
    (tmp_path / "whole-0.failed.json").write_text("{")
    (tmp_path / "whole-1.failed.json").write_text("[]")
    with pytest.raises(GancoreError, match="All 4 runs failed"):
        ablated(tmp_path, DIVERGING)
    assert json.loads((tmp_path / "whole-1.failed.json").read_text())["failed"].startswith("test, seed 1: the loss")
    # What failed before anything was trained has nothing to lose, so its folders are free for the recipe that is sound.
    table = ablated(tmp_path, {"optimizers": {"discriminator": {"use": "sgd", "lr": 0.001}}})
    assert not any(note.startswith("failed") for note in table.notes)
    assert list(tmp_path.glob("*.failed.json")) == []


def test_a_fault_of_a_plugin_is_kept_with_its_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gancore.engine.run import Run

    step = Run.step

    def faulty(self: Run) -> None:
        if self.recipe.run.seed == 1:
            raise ZeroDivisionError("a plugin's fault")
        step(self)

    monkeypatch.setattr(Run, "step", faulty)
    table = ablated(tmp_path)
    assert [len(row.runs) for row in table.rows] == [1, 1]
    record = json.loads((tmp_path / "whole-1.failed.json").read_text())
    assert record["failed"] == "test, seed 1: ZeroDivisionError: a plugin's fault"
    assert "in faulty" in record["traceback"]


class _Announced(Progress):
    """Keeps which runs were begun."""

    def __init__(self, begun: list[str]) -> None:
        self.begun = begun

    def announce(self, text: str) -> None:
        if text.startswith("run "):
            self.begun.append(text)


# -- executors ---------------------------------------------------------------------------------------------------------------


def asked_of(
    words: list[str], *, folder: Path, number: int | None, pending: int, gpus: int = 0, color: str = ""
) -> Generator[str, None, bool]:
    """A stranger's executor, which keeps what it was asked for, and goes on."""
    ASKED.append({"words": words, "folder": folder, "number": number, "pending": pending, "gpus": gpus, "color": color})
    yield "two ships have left"
    return True


ASKED: list[dict[str, Any]] = []


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The recipe's file, where a stranger's plugin brings an executor."""
    stranger = types.ModuleType("stranger")

    @gancore.hookimpl
    def gancore_executors() -> Iterator[gancore.Component]:
        yield gancore.Component("ships", f"{__name__}:asked_of", "Ships")

    stranger.gancore_executors = gancore_executors  # type: ignore[attr-defined]
    monkeypatch.chdir(tmp_path)
    ASKED.clear()
    path = tmp_path / "tiny.toml"
    path.write_text(toml.dumps(GAME))
    ours = {name: import_module(f"gancore_{name}") for name in PLUGINS}
    with installed(Registry.of({**ours, "stranger": stranger})):
        yield path


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["ablate", "tiny.toml", *map(str, words)], catch_exceptions=False)


@pytest.mark.usefixtures("recipe")
def test_a_strangers_executor_is_asked_for_what_waits_and_asked_again(tmp_path: Path) -> None:
    words = ["--seeds", 1, "--out", "out", "--set", "run.iterations=2"]
    done = run(*words, "--on", "ships:3", "--gpus", 2, "--job", "color=red")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "two ships have left",
        "2 runs: 2 waiting.",
        "They go on; how far they are: gancore ablate tiny.toml --set run.iterations=2 --seeds 1 --out out "
        "--on ships:3 --gpus 2 --job color=red",
    ]
    (asked,) = ASKED
    assert asked["words"] == ["ablate", "tiny.toml", "--set", "run.iterations=2", "--seeds", "1", "--out", "out"]
    assert (asked["folder"], asked["number"], asked["pending"]) == (Path("out"), 3, 2)
    assert (asked["gpus"], asked["color"]) == (2, "red")
    # Somebody trains them; asked again, it shows the table, and the executor has nothing to do.
    assert run(*words).exit_code == 0
    done = run(*words, "--on", "ships:3")
    assert done.exit_code == 0
    assert "The table is in" in done.stdout
    assert len(ASKED) == 1


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on", "shipps"], "does not exist"),
        (["--on", "ships:0"], "asks for no number of processes; write e.g. --on ships:4"),
        (["--on", "ships:"], "asks for no number of processes"),
        (["--on", "ships", "--job", "folder=/"], "--job folder is not for you to set; leave it out"),
        (["--on", "ships", "--job", "words=rm"], "--job words is not for you to set; leave it out"),
        (["--on", "ships", "--job", "gpus=2"], "--job gpus is not for you to set; say --gpus."),
        (["--on", "ships:many"], "asks for no number of processes"),
        (["--on", "ships", "--partition", "gpu"], "the executor ships takes no partition; leave it out"),
        (["--on", "ships", "--job", "account=lab\nrm -r ."], "no setting; write KEY=VALUE"),
        (["--on", "ships", "--job", "red"], "no setting; write KEY=VALUE"),
        (["--on", "standard/hinge"], "is a loss, not an executor"),
        (["--gpus", "1"], "--gpus is for jobs; name an executor by --on"),
        (["--job", "a=b"], "--job a is for jobs; name an executor by --on"),
    ],
)
def test_what_is_wrong_gets_a_sentence_and_nothing_is_begun(words: list[str], said: str, tmp_path: Path) -> None:
    done = run("--out", "out", *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr) < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("recipe")
def test_a_command_with_failures_ends_with_status_1_and_says_how_to_try_again() -> None:
    done = run("--seeds", 1, "--drop", "optimizers.discriminator", "--set", "optimizers.discriminator={use='sgd',lr=1e38}")
    assert done.exit_code == 1, done.output
    assert "failed: whole, seed 0: tiny.toml, seed 0: the loss" in done.stdout


def until(what: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.05)


def asking(words: list[str], told: Path) -> None:
    """Be a process that runs a command, and keep what it says."""
    with told.open("w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        main(words)


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Any]:
    """A table of an image set that processes begin with sooner than with one of scikit-learn."""
    for at in range(12):
        file = tmp_path / "pictures" / ("train" if at % 3 else "test") / "ab"[at % 2] / f"{at}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * at).save(file)
    return {"use": "standard/image-folder", "path": str(tmp_path / "pictures"), "image_size": 8}


def test_processes_of_this_machine_are_stopped_go_on_and_make_the_table_of_one(
    tmp_path: Path, pictures: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    table = {**GAME, "run": {**GAME["run"], "iterations": 120, "checkpoint_every": 0}, "data": pictures}
    (tmp_path / "tiny.toml").write_text(toml.dumps(table))
    words = ["ablate", "tiny.toml", "--seeds", "1", "--out", "out", "--on", "local:2"]
    first = multiprocessing.get_context("fork").Process(target=asking, args=(words, tmp_path / "told"))
    first.start()
    until(lambda: sum(len(entries(path)) > 5 for path in tmp_path.glob("out/*/log.jsonl")) or not first.is_alive())
    first.terminate()
    first.join()
    said = (tmp_path / "told").read_text()
    assert first.exitcode == 130, said
    assert said.splitlines()[0] == "2 processes train into out"
    assert any(line.startswith(("[1] run ", "[2] run ")) for line in said.splitlines())
    assert said.splitlines()[-1] == (
        "Saved. To go on, the same command: gancore ablate tiny.toml --seeds 1 --out out --on local:2"
    )
    saved = [int(path.stem) for path in tmp_path.glob("out/*/checkpoints/*.safetensors")]
    # One was in the middle; the other may have just begun then, or have ended.
    assert any(5 < number < 120 for number in saved), saved
    second = CliRunner().invoke(main, words)
    assert second.exit_code == 0, second.output
    assert "going on after" in second.stdout
    alone = ablate(
        check_table(toml.read(tmp_path / "tiny.toml"), registry(), name="tiny.toml"),
        registry(),
        tmp_path / "alone",
        seeds=1,
        device=CPU,
    )
    assert (tmp_path / "out" / "ablation.md").read_text() == (tmp_path / "alone" / "ablation.md").read_text()
    assert alone.columns
    assert [len(value) for value in (weights(tmp_path / "out"), weights(tmp_path / "alone"))] == [6, 6]
    for name, own in weights(tmp_path / "alone").items():
        assert all(value.equal(weights(tmp_path / "out")[name][key]) for key, value in own.items()), name


def test_a_process_of_this_machine_saves_and_ends_once_who_started_it_is_gone(
    tmp_path: Path, pictures: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    table = {**GAME, "run": {**GAME["run"], "iterations": 10**6, "checkpoint_every": 0}, "data": pictures}
    (tmp_path / "tiny.toml").write_text(toml.dumps({key: value for key, value in table.items() if key != "metrics"}))
    words = [
        sys.executable,
        "-m",
        "gancore_report.attached",
        "train",
        str(tmp_path / "tiny.toml"),
        "--out",
        str(tmp_path / "run"),
    ]
    # The death of who starts it closes the pipe, whose other end nobody else has.
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        until(lambda: len(entries(tmp_path / "run" / "log.jsonl")) > 5 or process.poll() is not None)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 130
    assert len(checkpoint.checkpoints(tmp_path / "run")) == 1


def test_each_process_of_this_machine_sees_a_gpu_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str | None, str]] = []

    class Started:
        stdin = None
        stderr = ()

        def __init__(self, _: list[str], *, env: dict[str, str], **__: Any) -> None:
            seen.append((env.get("CUDA_VISIBLE_DEVICES"), env["OMP_NUM_THREADS"]))

        def poll(self) -> int:
            return 0

        def wait(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Started)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(6))
    list(local([], folder=Path("out"), number=3, pending=9))
    assert seen == [("4", "2"), ("7", "2"), ("4", "2")]
    seen.clear()
    list(local([], folder=Path("out"), number=None, pending=9))
    assert [gpu for gpu, _ in seen] == ["4", "7"]
    seen.clear()
    list(local([], folder=Path("out"), number=5, pending=1))
    assert len(seen) == 1
