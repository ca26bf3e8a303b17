"""The lock of a folder: one process at a time, nothing left behind, nobody bound by the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from gancore_training.lock import LOCK, InUse, holding

from gancore import GancoreError

CHILD = """
import sys, time
from pathlib import Path
from gancore_training.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_by_one_process_and_the_dead_bind_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", CHILD, str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with (
            pytest.raises(InUse, match=rf"run is in use by process {child.pid} on .+, since 20\d\d-.*; wait for it"),
            holding(folder),
        ):
            pytest.fail("both hold it")
        child.send_signal(signal.SIGKILL)
    assert (folder / LOCK).exists()
    with holding(folder):
        assert (folder / LOCK).read_text().startswith(f"process {os.getpid()} on ")
    assert not (folder / LOCK).exists()


def test_a_folder_that_stays_empty_leaves_no_trace(tmp_path: Path) -> None:
    with holding(tmp_path / "some" / "where"):
        pass
    assert list(tmp_path.iterdir()) == []
    with holding(tmp_path / "some" / "where"):
        (tmp_path / "some" / "where" / "result").write_text("")
    assert [path.name for path in (tmp_path / "some" / "where").iterdir()] == ["result"]


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("somebody's")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(victim)
    with pytest.raises(GancoreError, match="run can't be written"), holding(tmp_path / "run"):
        pytest.fail("it was followed")
    assert victim.read_text() == "somebody's"


def test_who_holds_a_folder_is_told_as_text_alone(tmp_path: Path) -> None:
    with holding(tmp_path):
        (tmp_path / LOCK).write_bytes(b"\x1b[2J\xff" + b"x" * 5000)
        with pytest.raises(InUse) as told, holding(tmp_path):
            pytest.fail("both hold it")
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) < 400
