"""Showing never ends a training: closed streams, pipes without a reader, a terminal that goes away."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from gancore_training.terminal import Terminal

from gancore.files import toml
from gancore.showing import Unfailing
from tests.hosts import GAME

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def command(tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    # A line of progress in each iteration, where somebody looks.
    path.write_text(toml.dumps({**GAME, "run": {**GAME["run"], "iterations": 300, "log_every": 1, "checkpoint_every": 100}}))
    return f"{sys.executable} -m plugins.training.tests.command train {path} --out {tmp_path / 'run'}"


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}


def trained(tmp_path: Path) -> bool:
    last = (tmp_path / "run" / "checkpoints" / "00000300.safetensors").is_file()
    return last and (tmp_path / "run" / "weights" / "generator.safetensors").is_file()


@pytest.mark.parametrize("rest", ["2>&-", ">&-", ">&- 2>&-", "2>&1 | true", "2>&1 >/dev/full | true", ">/dev/full 2>&1"])
def test_streams_that_take_nothing_end_no_training(rest: str, command: str, tmp_path: Path) -> None:
    words = ["bash", "-c", f"set -o pipefail; {command} {rest}"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stdout + done.stderr
    assert trained(tmp_path)


def test_a_terminal_that_goes_away_ends_no_training(command: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = command.split()
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs) as child:
        os.close(theirs)
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.close(ours)
        child.wait(120)
    assert child.returncode == 0
    assert trained(tmp_path)


def test_what_closes_the_terminal_saves_and_stops(command: str, tmp_path: Path) -> None:
    words = f"{command} --set run.iterations=1000000".split()
    with subprocess.Popen(words, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as child:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "log.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert child.stdout is not None
        child.stdout.close()
        child.send_signal(signal.SIGHUP)
        child.wait(60)
    assert child.returncode == 130
    assert list((tmp_path / "run" / "checkpoints").iterdir())


class Broken(io.StringIO):
    """A stream in which everything fails."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise OSError(5, "Input/output error")

    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stream", [Broken(), None])
def test_progress_survives_a_broken_stream(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        terminal = Terminal()
        terminal.announce("a line")
        for iteration in (1, 2):
            terminal.advanced(iteration, 2, 1.0, {"loss": 1.0})
        terminal.ended()


def test_what_is_no_text_is_refused_as_any_text_stream_does() -> None:
    stream = Unfailing(io.StringIO())
    stream.write("text")
    assert stream.getvalue() == "text"
    with pytest.raises(TypeError):
        stream.write(b"bytes")  # type: ignore[arg-type]
