"""Several processes train one run, which is told and written once, and ends with a sentence when one of them is lost."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gancore.files import toml
from gancore.files.tensors import read_tensors, write_tensors
from tests.parallel.test_distributed import differences, finished, start
from tests.processes import CASES
from tests.standin.networks import SmallCNN


def gancore(words: list[str], size: int, tmp_path: Path) -> list[tuple[int, str, str]]:
    return finished(start(["plugins.training.tests.command", *words], size, tmp_path))


RECIPE = """
[run]
iterations = {iterations}
batch_size = 8
latent_dim = 4
precision = "float32"
log_every = 2
sample_every = 4
checkpoint_every = {checkpoints}
evaluate_every = 4

[data]
use = "standard/digits"

[networks.generator]
use = "standard/sndcgan-generator"
width = 0.05
[networks.discriminator]
use = "standard/sndcgan-discriminator"
width = 0.05
[networks.annotator]
use = "standard/small-cnn"
weights = "{annotator}"

[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
[attacks.free]
use = "probe/free"
[loop]
use = "probe/replay"
[optimizers.generator]
use = "sgd"
lr = 0.005
[optimizers.discriminator]
use = "sgd"
lr = 0.005
[ema]
decay = 0.9

[evaluation]
samples = 203
batch_size = 50
[metrics.fid]
use = "standard/fid"
[metrics.classes]
use = "standard/class-histogram"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Any:
    """Return a function that writes the recipe."""
    annotator = tmp_path / "annotator.safetensors"
    torch.manual_seed(0)
    write_tensors(annotator, SmallCNN(channels=1, image_size=8, classes=10).state_dict(), {})

    def write(iterations: int = 8, checkpoints: int = 4) -> str:
        path = tmp_path / f"recipe-{iterations}.toml"
        path.write_text(RECIPE.format(iterations=iterations, checkpoints=checkpoints, annotator=annotator))
        return str(path)

    return write


def scores(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]


def newest(folder: Path) -> dict[str, Tensor]:
    tensors, _ = read_tensors(sorted((folder / "checkpoints").glob("*.safetensors"))[-1])
    return tensors


def test_torchrun_trains_one_run_that_is_written_and_told_once(recipe: Any, tmp_path: Path) -> None:
    runs = {}
    for size, words in (
        (1, ["plugins.training.tests.command"]),
        (2, ["torch.distributed.run", "--nproc-per-node=2", "-m", "plugins.training.tests.command"]),
    ):
        out = tmp_path / f"by-{size}"
        ((status, said, errors),) = finished(start([*words, "train", recipe(), "--out", str(out)], 1, tmp_path))
        assert status == 0, errors
        assert said.count("The run is in") == 1
        assert errors.count("iteration 8: ") == 1
        runs[size] = out
    assert errors.count("2 processes, 4 images of each batch of 8 in each") == 1
    one, two = runs[1], runs[2]
    assert differences(newest(one), newest(two), 2e-4) == {}
    files = [sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) for out in (one, two)]
    assert files[0] == files[1]
    for mine, theirs in zip(scores(one), scores(two), strict=True):
        assert mine["protocols"] == theirs["protocols"]
        assert mine["scores"]["fid/fid"] == pytest.approx(theirs["scores"]["fid/fid"], rel=1e-3)
        assert mine["scores"]["classes/histogram"] == pytest.approx(theirs["scores"]["classes/histogram"], abs=0.011)
    logs = [[json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()] for out in (one, two)]
    for mine, theirs in zip(*logs, strict=True):
        assert mine["losses"] == pytest.approx(theirs["losses"], rel=1e-4)
    assert json.loads((two / "environment.json").read_text())["processes"] == 2


def test_a_run_goes_on_in_another_number_of_processes(recipe: Any, tmp_path: Path) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    ((status, _, errors),) = gancore(["train", recipe(12), "--out", str(whole)], 1, tmp_path)
    assert status == 0, errors
    for size, until in ((2, 4), (1, 8), (2, None)):
        words = ["train", recipe(12), "--out", str(out), *(["--resume"] if out.exists() else [])]
        # Each training is interrupted where the next one goes on.
        program = ["plugins.training.tests.command"] if until is None else ["plugins.training.tests.stopping", str(until)]
        for status, _, errors in finished(start([*program, *words], size, tmp_path)):
            assert status == (0 if until is None else 130), errors
        assert max(int(path.stem) for path in (out / "checkpoints").glob("*.safetensors")) == (until or 12)
    assert differences(newest(whole), newest(out), 2e-4) == {}
    assert [line["iteration"] for line in scores(out)] == [4, 8, 12]


def test_a_killed_process_ends_the_run_with_a_sentence_that_says_how_to_go_on(recipe: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    processes = start(["plugins.training.tests.command", "train", recipe(100_000, 50), "--out", str(out)], 2, tmp_path)
    until = time.monotonic() + 120
    while not list(out.glob("checkpoints/*.safetensors")) and time.monotonic() < until:
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGKILL)
    (status, _, errors), _ = finished(processes)
    assert status == 2
    assert "Traceback" not in errors
    assert "process 0 of 2 lost another one" in errors.splitlines()[-1]
    assert "--resume" in errors.splitlines()[-1]
    assert newest(out)


def test_a_wrong_recipe_is_refused_once_and_not_by_every_process(recipe: Any, tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        found = gancore(["train", *words, "--out", str(tmp_path / "run")], 2, tmp_path)
        assert [status for status, _, _ in found] == [2, 2]
        lines = [line for _, _, errors in found for line in errors.splitlines() if line]
        assert len(lines) == 1, lines
        return lines[0]

    assert "there is no recipe 'nonsense'" in refused("nonsense")
    assert "run.batch_size is 9, which 2 processes can't share evenly" in refused(recipe(), "--set", "run.batch_size=9")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "other").touch()
    assert "holds other files and no run" in refused(recipe())


@pytest.mark.parametrize("words", [["sample", "RUN"]])
def test_what_runs_in_one_process_says_so(words: list[str], recipe: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    if "RUN" in words:
        assert gancore(["train", recipe(2), "--out", str(out)], 1, tmp_path)[0][0] == 0
    given = [{"RECIPE": recipe(2), "RUN": str(out)}.get(word, word) for word in words]
    found = gancore(given, 2, tmp_path)
    assert [status for status, _, _ in found] == [2, 2]
    said = "".join(errors for _, _, errors in found)
    assert said.count("start it without torchrun") == 1


def test_several_processes_score_a_run_as_one_does(recipe: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert gancore(["train", recipe(4), "--out", str(out)], 1, tmp_path)[0][0] == 0
    found = gancore(["evaluate", str(out)], 2, tmp_path)
    assert [status for status, _, _ in found] == [0, 0]
    assert sum(said.count("fid/fid") for _, said, _ in found) == 1
    first, second = scores(out)
    assert second["scores"]["fid/fid"] == pytest.approx(first["scores"]["fid/fid"], rel=1e-6)
    assert second["protocols"] == first["protocols"]


def test_a_stop_is_heard_long_before_the_next_line_of_the_log(recipe: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["train", recipe(1_000_000, 0), "--out", str(out), "--set", "run.log_every=1000000"]
    quiet = ["--set", "run.sample_every=0", "--set", "run.evaluate_every=0"]
    for status, _, errors in finished(start(["plugins.training.tests.stopping", "3", *words, *quiet], 2, tmp_path)):
        assert status == 130, errors
    assert newest(out)


def test_a_process_that_fails_alone_before_they_meet_says_why(tmp_path: Path) -> None:
    words = [
        "torch.distributed.run",
        "--nproc-per-node=2",
        "-m",
        "plugins.training.tests.failing",
        "train",
        "probe/game",
        "--out",
    ]
    ((status, _, errors),) = finished(start([*words, str(tmp_path / "run")], 1, tmp_path))
    assert status != 0
    assert errors.count("Error: process 1 has no GPU of its own.") == 1


def test_a_wrong_environment_gets_a_sentence(tmp_path: Path) -> None:
    environment = {"WORLD_SIZE": "2", "RANK": "first"}
    ((status, _, errors),) = finished(
        start(["plugins.training.tests.command", "train", "probe/game", "--out", "run"], 1, tmp_path, **environment)
    )
    assert status == 2
    assert errors.strip().endswith("RANK is 'first', no whole number; start several processes by torchrun.")


@pytest.mark.parametrize("asked", [0, 1])
def test_all_processes_leave_an_evaluation_when_one_is_asked_and_keep_what_was_trained(
    asked: int, recipe: Any, tmp_path: Path
) -> None:
    out, whole = tmp_path / "run", tmp_path / "whole"
    long = ["evaluation.samples=1600", "evaluation.batch_size=8", "run.evaluate_every=3", "run.iterations=4"]
    words = ["plugins.training.tests.command", "train", recipe(8), *(word for each in long for word in ("--set", each))]
    processes = start([*words, "--out", str(out)], 2, tmp_path)
    until = time.monotonic() + 120
    while not list(out.glob("checkpoints/00000003.safetensors")) and time.monotonic() < until:
        time.sleep(0.02)
    processes[asked].send_signal(signal.SIGUSR1)
    for status, _, errors in finished(processes):
        assert status == 130, errors
    assert [path.stem for path in (out / "checkpoints").iterdir()] == ["00000003"]
    assert not (out / "scores.jsonl").exists()
    for folder in (out, whole):
        for status, _, errors in finished(start([*words, "--out", str(folder), "--resume"], 2, tmp_path)):
            assert status == 0, errors
    assert differences(newest(whole), newest(out), 0.0) == {}
    assert [(line["iteration"], line["scores"]) for line in scores(out)] == [
        (line["iteration"], line["scores"]) for line in scores(whole)
    ]


@pytest.mark.parametrize(
    "change", ["run.seed=5", "optimizers.generator.lr=0.5", "run.iterations=9", "networks.generator.width=0.3"]
)
def test_processes_of_different_recipes_are_refused_at_once(tmp_path: Path, change: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(toml.dumps(CASES["plain"] | {"run": CASES["plain"]["run"] | {"iterations": 2}}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = []
    for rank, more in enumerate(([], ["--set", change])):
        several = {"WORLD_SIZE": "2", "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = ["plugins.training.tests.command", "train", str(recipe), "--out", str(tmp_path / "run"), *more]
        processes += start(command, 1, tmp_path, **several)
    ended = finished(processes)
    assert [status for status, _, _ in ended] == [2, 2], ended
    (sentence,) = [line for _, _, errors in ended for line in errors.splitlines() if line.startswith("Error: ")]
    assert f"the processes differ in {change.split('=')[0]}: it is " in sentence
    assert not (tmp_path / "run").exists()
