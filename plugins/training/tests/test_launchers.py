"""Processes that srun starts join as torchrun's do; those of a launcher that says less are refused, and none trains alone."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest
import torch
from gancore_training import launchers, ranks
from gancore_training.launchers import meet_as_launched
from gancore_training.ranks import one_process

from gancore import GancoreError
from gancore.parallel import distributed
from tests.parallel.test_distributed import finished, start

STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment of its own, in which nothing has started several processes."""
    own = {name: value for name, value in os.environ.items() if "RANK" not in name and "SLURM" not in name}
    own.pop("CUDA_VISIBLE_DEVICES", None)
    monkeypatch.setattr(os, "environ", own)
    return own


def test_a_task_of_srun_is_told_what_torchrun_tells(environment: dict[str, str]) -> None:
    environment.update(STEP)
    meet_as_launched()
    told = {name: environment[name] for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")}
    assert told == {"WORLD_SIZE": "8", "RANK": "5", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "gpu07"}
    port = environment.pop("MASTER_PORT")
    assert 10_000 <= int(port) < 30_000
    with pytest.raises(GancoreError, match="runs in one process"):
        one_process("this")
    # All tasks of a step meet at one port, and those of the next step at another.
    for step, same in (("2", True), ("3", False)):
        environment.clear()
        environment.update({**STEP, "SLURM_PROCID": "0", "SLURM_STEP_ID": step})
        meet_as_launched()
        assert (environment["MASTER_PORT"] == port) is same


def test_where_the_user_says_where_to_meet_that_counts(environment: dict[str, str]) -> None:
    environment.update({**STEP, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"})
    meet_as_launched()
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("10.0.0.1", "29500")


def test_a_task_that_is_shown_its_own_gpu_alone_takes_the_first(environment: dict[str, str]) -> None:
    environment.update({**STEP, "CUDA_VISIBLE_DEVICES": "3"})
    meet_as_launched()
    assert environment["LOCAL_RANK"] == "0"


@pytest.mark.parametrize(
    "alone",
    [
        # A batch script's own process, in an allocation for eight.
        {name: value for name, value in STEP.items() if "STEP" not in name},
        # A shell, or one task, in the same allocation.
        {**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"PMI_SIZE": "1", "PMI_RANK": "0"},
        {},
    ],
)
def test_a_single_process_stays_one(alone: dict[str, str], environment: dict[str, str]) -> None:
    environment.update(alone)
    one_process("this")
    assert "WORLD_SIZE" not in environment


def test_torchrun_in_a_step_has_the_last_word(environment: dict[str, str]) -> None:
    environment.update({**STEP, "WORLD_SIZE": "2", "RANK": "1"})
    meet_as_launched()
    assert environment["RANK"] == "1"


@pytest.mark.parametrize(
    ("several", "said"),
    [
        ({"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_RANK": "0"}, "OMPI_COMM_WORLD_SIZE is '8'"),
        ({"PMI_RANK": "3"}, "PMI_RANK is '3'"),
        # Open MPI has a helper on each of two nodes started by srun, and each of them four processes.
        ({**STEP, "SLURM_STEP_NUM_TASKS": "2", "OMPI_COMM_WORLD_SIZE": "8"}, "OMPI_COMM_WORLD_SIZE is '8'"),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "1", "OMPI_COMM_WORLD_SIZE": "4"}, "OMPI_COMM_WORLD_SIZE is '4'"),
    ],
)
def test_those_of_a_launcher_that_does_not_say_where_they_meet_are_refused(
    several: dict[str, str], said: str, environment: dict[str, str]
) -> None:
    environment.update(several)
    with pytest.raises(GancoreError, match=said):
        meet_as_launched()


@pytest.mark.parametrize("half", [{"SLURM_PROCID": "8"}, {"SLURM_PROCID": ""}, {"SLURM_STEP_NUM_TASKS": "many"}])
def test_half_a_step_is_refused_at_once(half: dict[str, str], environment: dict[str, str]) -> None:
    environment.update({**STEP, **half})
    with pytest.raises(
        GancoreError, match=r"SLURM_STEP_NUM_TASKS '.*' and SLURM_PROCID '.*', which no task of srun has; unset"
    ):
        meet_as_launched()
    assert "RANK" not in environment


def test_a_process_that_waits_for_others_says_so(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.update(STEP)
    monkeypatch.setattr(ranks, "LONG", 0.01)
    monkeypatch.setattr(distributed, "start", lambda _: time.sleep(0.5))
    ranks.join(torch.device("cpu"))
    assert "process 5 of 8 waits for the others at gpu07:" in capsys.readouterr().err
    monkeypatch.setattr(distributed, "start", lambda _: None)
    ranks.join(torch.device("cpu"))
    environment.clear()
    ranks.join(torch.device("cpu"))
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_a_later_process_whose_first_nobody_has_started_is_heard(environment: dict[str, str]) -> None:
    environment.update({"WORLD_SIZE": "2", "RANK": "1"})
    assert distributed.first_to_fail()
    environment.update({"MASTER_ADDR": "localhost", "MASTER_PORT": "1"})
    assert not distributed.first_to_fail()


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[07-09,12],login", "gpu07"),
        ("gpu[3,5-6]", "gpu3"),
        ("a1,b[2-3]", "a1"),
        ("rack[1-2]-node[04-05]", "rack1-node04"),
        ("one.example.org", "one.example.org"),
        ("", "127.0.0.1"),
    ],
)
def test_the_first_of_slurms_nodes(nodes: str, first: str) -> None:
    assert launchers._first_of(nodes) == first


RECIPE = """
[run]
iterations = 2
batch_size = 8
latent_dim = 4
precision = "float32"
sample_every = 0
[data]
use = "standard/digits"
[networks.generator]
use = "standard/sndcgan-generator"
width = 0.05
[networks.discriminator]
use = "standard/sndcgan-discriminator"
width = 0.05
[heads.adversarial]
use = "standard/linear"
[losses.adversarial]
use = "standard/hinge"
[optimizers.generator]
use = "sgd"
lr = 0.005
[optimizers.discriminator]
use = "sgd"
lr = 0.005
"""


def test_srun_trains_one_run_that_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    out = tmp_path / "run"
    words = ["plugins.training.tests.command", "train", str(tmp_path / "recipe.toml"), "--out", str(out)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    step = {
        **STEP,
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_NUM_NODES": "1",
        "SLURM_STEP_NODELIST": "gpu07",
        "MASTER_PORT": port,
    }
    tasks = []
    for task in ("0", "1"):
        tasks += start(words, 1, tmp_path, **{**step, "SLURM_PROCID": task, "SLURM_LOCALID": task})
    ended = finished(tasks)
    assert [status for status, _, _ in ended] == [0, 0], ended
    assert sum(said.count("The run is in") for _, said, _ in ended) == 1
    assert json.loads((out / "environment.json").read_text())["processes"] == 2
