"""The claim of a folder: one process on all hosts at a time, nothing left behind, nobody bound by the dead."""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gancore_training import lock
from gancore_training.lock import LOCK, InUse, holder, holding, is_claim, still_held

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


# -- across hosts ------------------------------------------------------------------------------------------------------------


def left_by(host: str, folder: Path, *, pid: int | None = None, seconds_ago: float = 0.0) -> Path:
    """Write the claim of a process of another host, whose last sign of life is some seconds old."""
    folder.mkdir(exist_ok=True)
    path = folder / LOCK
    claim = lock.Claim(path)
    path.write_bytes(
        claim.content.replace(lock.place().encode(), host.encode()).replace(b"%d" % os.getpid(), b"%d" % (pid or 1))
    )
    touched = path.stat().st_mtime - seconds_ago
    os.utime(path, (touched, touched))
    return path


def test_a_claim_of_another_host_binds_until_it_gives_no_sign_of_life(tmp_path: Path) -> None:
    path = left_by("elsewhere", tmp_path, pid=2**22 + 1, seconds_ago=lock.STALE - 5)
    assert holder(tmp_path).startswith(f"process {2**22 + 1} on ")
    with pytest.raises(InUse, match="is in use by process"), holding(tmp_path):
        pytest.fail("both hold it")
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
    assert holder(tmp_path) == ""
    with holding(tmp_path):
        assert holder(tmp_path).startswith(f"process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


def test_age_is_measured_by_the_file_systems_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the host's clock was asked"))
    left_by("elsewhere", tmp_path, seconds_ago=lock.STALE + 5)
    with holding(tmp_path):
        pass
    left_by("elsewhere", tmp_path)
    assert holder(tmp_path)


def test_a_process_of_this_host_is_known_by_its_start(tmp_path: Path) -> None:
    # It lives, and was perhaps halted for long.
    path = tmp_path / LOCK
    path.write_bytes(lock.Claim(path).content)
    os.utime(path, (0, 0))
    assert holder(tmp_path)
    # A later process has its number.
    path.write_bytes(lock.Claim(path).content.replace(lock._started(os.getpid()).encode(), b"7"))  # type: ignore[union-attr]
    assert holder(tmp_path) == ""


def test_a_holder_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    with holding(tmp_path):
        os.utime(tmp_path / LOCK, (0, 0))
        until = time.monotonic() + 20
        while (tmp_path / LOCK).stat().st_mtime == 0:
            assert time.monotonic() < until
            time.sleep(0.01)
        still_held(tmp_path)


def test_who_was_taken_for_dead_learns_it_and_leaves_the_new_holder_alone(tmp_path: Path) -> None:
    with holding(tmp_path):
        still_held(tmp_path)
        path = left_by("elsewhere", tmp_path)
        before = path.read_bytes()
        with pytest.raises(InUse, match=r"was taken over by process 1 on .* no sign of life for more than 120 s"):
            still_held(tmp_path)
    assert path.read_bytes() == before


def test_a_claim_that_was_removed_by_hand_is_put_there_again(tmp_path: Path) -> None:
    with holding(tmp_path):
        (tmp_path / LOCK).unlink()
        still_held(tmp_path)
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_moved_away_is_not_made_anew(tmp_path: Path) -> None:
    with holding(tmp_path / "run"):
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        with pytest.raises(GancoreError, match=r"run was moved or removed while it was in use; put it back, and go on there\."):
            still_held(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_who_was_killed_while_taking_over_binds_nobody(tmp_path: Path) -> None:
    path = left_by("elsewhere", tmp_path, seconds_ago=lock.STALE + 5)
    dead = lock._read(path)
    assert dead is not None
    gate = left_by("elsewhere", tmp_path / "gates", seconds_ago=lock.STALE + 5).rename(tmp_path / f"{LOCK}.{dead.token}")
    (tmp_path / "gates").rmdir()
    (tmp_path / f".{LOCK}.0123456789abcdef").write_text("half")
    assert is_claim(gate.name)
    with holding(tmp_path):
        assert [each.name for each in tmp_path.iterdir()] == [LOCK]
    # One that takes over now is respected.
    path = left_by("elsewhere", tmp_path, seconds_ago=lock.STALE + 5)
    dead = lock._read(path)
    assert dead is not None
    left_by("a third", tmp_path / "gates").rename(tmp_path / f"{LOCK}.{dead.token}")
    with pytest.raises(InUse), holding(tmp_path):
        pytest.fail("both hold it")


def test_where_there_are_no_hard_links_a_new_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    with holding(tmp_path), pytest.raises(InUse), holding(tmp_path):
        pytest.fail("both hold it")
    left_by("elsewhere", tmp_path, seconds_ago=lock.STALE + 5)
    with holding(tmp_path):
        assert holder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_was_lost_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link: Callable[..., None] = os.link

    def asked_twice(*paths: Any) -> None:
        link(*paths)
        link(*paths)

    monkeypatch.setattr(os, "link", asked_twice)
    with holding(tmp_path):
        assert holder(tmp_path)


def crowd(folder: Path, host: int, ledger: Path) -> None:
    """Hold a folder time and again, as a process of a host of its own does; of the first two each dies once while it does."""
    lock.STALE, lock.BEAT = 2.5, 0.1
    lock.place = lambda: f"host {host}"  # type: ignore[assignment]
    held = 0
    while held < 6:
        with contextlib.suppress(InUse), holding(folder):
            held += 1
            _note(ledger, f"+{host}")
            if host < 2 and held == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.002)
            _note(ledger, f"-{host}")
        time.sleep(0.005)


def _note(ledger: Path, what: str) -> None:
    with ledger.open("a") as file:
        file.write(f"{what}\n")


def test_of_many_processes_on_many_hosts_that_die_one_holds_a_folder_at_a_time(tmp_path: Path) -> None:
    several = multiprocessing.get_context("fork")
    ledger, folder = tmp_path / "ledger", tmp_path / "run"
    folder.mkdir()
    crowds = [several.Process(target=crowd, args=(folder, host, ledger)) for host in range(5)]
    for each in crowds:
        each.start()
    for each in crowds:
        each.join()
    assert [each.exitcode for each in crowds] == [-signal.SIGKILL, -signal.SIGKILL, 0, 0, 0]
    lines = ledger.read_text().split()
    assert len(lines) == 2 * (2 * 3 + 3 * 6) - 2
    # Who holds it says so twice, with nobody in between; but who was killed did not say that it ends.
    unended = [begun for begun, ended in zip(lines, [*lines[1:], "+"], strict=True) if begun[0] == "+" and ended[0] == "+"]
    assert sorted(unended) == ["+0", "+1"]
    assert all(begun[1:] == ended[1:] for begun, ended in itertools.pairwise(lines) if ended[0] == "-")
    assert list(folder.iterdir()) == []
