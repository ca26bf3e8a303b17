"""Several processes compute what one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
from torch import Tensor

from gancore import GancoreError
from gancore.files.tensors import read_tensors
from gancore.parallel import distributed
from tests.hosts import FREE, run_of
from tests.processes import CASES, outcome

ROOT = Path(__file__).resolve().parents[2]


def start(words: list[str], size: int, tmp_path: Path, **environment: str) -> list[subprocess.Popen[str]]:
    """Start the same command in several processes, as torchrun does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    several = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} if size > 1 else {}
    found = []
    for rank in range(size):
        own = {**several, "RANK": str(rank), "LOCAL_RANK": str(rank)} if size > 1 else {}
        env = {**os.environ, "OMP_NUM_THREADS": "1", "GANCORE_CACHE": str(tmp_path / "cache"), **environment, **own}
        command = [sys.executable, "-m", *words]
        found.append(subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return found


def finished(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Return status, output and errors of each process."""
    said = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


def differences(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> dict[str, float]:
    """Return how far tensors are apart, relative to their largest value, where that is beyond the tolerance."""
    assert one.keys() == other.keys()
    far = {}
    for name, value in one.items():
        a, b = value.double(), other[name].double()
        assert a.shape == b.shape, name
        apart = float((a - b).abs().max() / a.abs().max().clamp_min(0.1)) if a.numel() else 0.0
        if not apart <= tolerance:
            far[name] = apart
    return far


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outcome of every case in two processes."""
    folder = tmp_path_factory.mktemp("two")
    for status, _, errors in finished(start(["tests.processes", str(folder)], 2, folder)):
        assert status == 0, errors
    return folder


@pytest.mark.parametrize("case", CASES)
def test_two_processes_compute_what_one_does(case: str, by_two: Path) -> None:
    found, _ = read_tensors(by_two / f"{case}.safetensors")
    assert differences(outcome(run_of(base=CASES[case])), found, 2e-4) == {}


# -- the tool, as torchrun starts it ---------------------------------------------------------------------------------


def test_a_number_of_images_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of({"samplers": {"noise": {"use": "probe/noisy"}}}, FREE)
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(run, "processes", 2)
    for number, sentence in (
        (7, "is 7, which 2 processes can't share evenly"),
        (8, "attack keeps a row of delta for each of 16"),
    ):
        less = partial(_fewer, number)
        monkeypatch.setattr(run.samplers["noise"], "draw", less)
        monkeypatch.setattr(type(run.samplers["noise"]), "draw", less)
        with pytest.raises(GancoreError, match=sentence):
            run.fresh()


def _fewer(number: int, batch: Any, _noise: Any) -> Any:
    return attrs.evolve(batch, real=batch.real[:number], real_label=batch.real_label[:number])
