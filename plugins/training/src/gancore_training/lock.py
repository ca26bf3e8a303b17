"""The claim of a folder: one process holds it, of all processes on all hosts that see the folder.

A claim is a file, for locks of the operating system hold across hosts on some file systems only. It asks little of a shared
folder: that making a hard link (or, where there are none, a new file) fails where the name is taken, that renaming replaces a
file at once, and that a file's times are those of one clock, the file system's, with which alone a claim's age is measured.

What it promises: of any number of processes that want a folder one gets it. Where that one has died, on its own host (the same
boot, the same process numbers) one other gets it at once; on another host, once the claim has shown no sign of life for
`STALE` seconds, again one. What it does not: a process that was halted for longer than `STALE` and goes on then has lost its
claim to one on another host, and learns so before it next writes (`still_held`); what it was writing right then, it writes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import secrets
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from gancore import GancoreError
from gancore.tools import writing

LOCK = "in-use"
"""Name of the file that says who holds a folder; gone when nobody does. Names that begin so are of its making."""

BEAT = 15.0
"""Seconds between two signs of life of a claim."""

STALE = 120.0
"""Seconds without a sign of life after which a claim of another host binds nobody."""

_TOKEN = re.compile(r"[0-9a-f]{16}")
_WHOLE = 2000


class InUse(GancoreError):  # noqa: N818 - it says what is the case
    """Another process holds a folder."""


@attrs.frozen
class Holder:
    """Who holds a folder, as the claim says.

    Attributes:
        text: In words, e.g. ``process 12 on node7, since 2026-11-26 20:15:00 +0000``; empty where the file is no claim.
        touched: The last sign of life, in seconds of the file system's clock.
        token: What no other claim has.
        place: Where its process's number means that process; empty where that is not known.
        pid: Its process's number.
        started: What tells the process from later ones of the same number; empty where that is not known.
    """

    text: str
    touched: float
    token: str = "unreadable"
    place: str = ""
    pid: int = 0
    started: str = ""

    def lives(self, folder: Path) -> bool:
        """Return whether it still binds others in a folder."""
        if self.place and self.place == place():
            there = _started(self.pid)
            if there is None or (there and self.started):
                return there is not None and there == self.started
        return abs(_clock(folder) - self.touched) < STALE


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold a folder. It is made where it is missing, and removed again where nothing came into it.

    Raises:
        InUse: Another process holds it.
        GancoreError: It is a file, or can't be written.
    """
    with writing(folder, "choose another --out"):
        if folder.exists() and not folder.is_dir():
            raise GancoreError(f"{folder} is a file; choose another --out.")
        absent = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with writing(folder, "choose another --out"):
            claim, other = _claim(folder)
        if other is not None:
            raise InUse(f"{folder} is in use by {_told(other)}; wait for it, or choose another --out.")
        own = _absolute(folder)
        _own[own] = claim
        try:
            yield
        finally:
            del _own[own]
            claim.end()
    finally:
        with contextlib.suppress(OSError):
            for each in absent:
                each.rmdir()


def holder(folder: Path) -> str:
    """Return who holds a folder now, in words; empty where nobody does."""
    with contextlib.suppress(OSError):
        claim = _read(folder / LOCK)
        if claim is not None and claim.lives(folder):
            return _told(claim)
    return ""


def still_held(folder: Path) -> None:
    """Make sure that this process, if it has claimed a folder, was not taken for dead meanwhile, and that the folder is there.

    Raises:
        InUse: Another process holds it now.
        GancoreError: It was moved or removed.
    """
    claim, holds = _own.get(_absolute(folder)), True
    if claim is not None and not folder.exists():
        # Half of it would be made anew there.
        raise GancoreError(f"{folder} was moved or removed while it was in use; put it back, and go on there.")
    # Where it can't be looked at now, writing will say why.
    with contextlib.suppress(OSError):
        holds = claim is None or claim.holds()
    if not holds:
        raise InUse(
            f"{folder} was taken over by {holder(folder) or 'another process'}, for this one gave no sign of life for more "
            f"than {STALE:g} s; it writes nothing more there."
        )


def is_claim(name: str) -> bool:
    """Return whether a file's name is one that claims have."""
    return name.removeprefix(".").partition(".")[0] == LOCK


@functools.cache
def place() -> str:
    """Return where this process's number means this process: a host, since it was started, and a space of process numbers."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{platform.node()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    return f"{platform.node()} {uuid.getnode():x}" if os.name == "posix" else ""


class Claim:
    """A claim of this process, which shows signs of life until it ends.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token = secrets.token_hex(8)
        text = f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S %z')}"
        facts = {"token": self.token, "place": place(), "pid": os.getpid(), "started": _started(os.getpid()) or ""}
        self.content = f"{text}\n{json.dumps(facts)}\n".encode()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True, name="gancore-claim")

    def begin(self) -> None:
        """Show signs of life from now on."""
        self._thread.start()

    def holds(self) -> bool:
        """Return whether it is still there. One that somebody has removed by hand is put there again."""
        there = _read(self.path)
        return there.token == self.token if there is not None else _placed(self.path, self.content)

    def end(self) -> None:
        """Give up the folder, unless another process has it by now."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            there = _read(self.path)
            if there is not None and there.token == self.token:
                self.path.unlink()

    def _live(self) -> None:
        while not self._ended.wait(BEAT):
            # A server that is away for a while is asked again the next time.
            with contextlib.suppress(OSError):
                if not self.holds():
                    return
                os.utime(self.path)


_own: dict[Path, Claim] = {}
"""What this process holds."""


def _claim(folder: Path) -> tuple[Claim, Holder | None]:
    """Return a claim of a folder, and who has it where that is another."""
    claim = Claim(_absolute(folder) / LOCK)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            other = _take(claim.path, claim.content)
        except FileNotFoundError:
            # Who held it has just removed the folder, in which nothing was.
            continue
        if other is None:
            # What others have left here who were killed while they asked for it.
            for left in (*folder.glob(f".{LOCK}.*"), *folder.glob(f"{LOCK}.*")):
                left.unlink(missing_ok=True)
            claim.begin()
        return claim, other


def _take(path: Path, content: bytes) -> Holder | None:
    """Put a claim at a path where there is none, or in the place of a dead one; return who lives there otherwise.

    Who replaces a dead claim must have claimed that first, under the dead one's token, and looks again then: so no claim is
    replaced twice, and none that lives.
    """
    while not _placed(path, content):
        other = _read(path)
        if other is None:
            continue
        if other.lives(path.parent):
            return other
        gate = path.with_name(f"{LOCK}.{other.token}")
        taker = _take(gate, content)
        if taker is not None:
            return taker
        try:
            again = _read(path)
            if again is not None and again.token == other.token:
                _beside(path, content).replace(path)
                return None
        finally:
            gate.unlink(missing_ok=True)
    return None


def _placed(path: Path, content: bytes) -> bool:
    """Write a claim where there is none, so that it is whole from the start, and return whether there was none."""
    beside = _beside(path, content)
    try:
        os.link(beside, path)
    except FileExistsError:
        # Where a server's answer was lost, it was asked twice, and refused the second time what it had done the first.
        return beside.stat().st_nlink == 2
    except FileNotFoundError:
        raise
    except OSError:  # there are no hard links
        try:
            with path.open("xb") as file:
                file.write(content)
        except FileExistsError:
            return False
    finally:
        beside.unlink(missing_ok=True)
    return True


def _beside(path: Path, content: bytes) -> Path:
    beside = path.with_name(f".{LOCK}.{secrets.token_hex(8)}")
    with beside.open("xb") as file:
        file.write(content)
    return beside


def _read(path: Path) -> Holder | None:
    """Return who has a claim at a path; None where there is none. It is opened, since only that asks the server."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, encoding="utf-8", errors="replace") as file:
        touched, (text, _, facts) = os.fstat(handle).st_mtime, file.read(_WHOLE).partition("\n")
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        known: dict[str, Any] = json.loads(facts)
        if _TOKEN.fullmatch(known["token"]) and isinstance(known["pid"], int) and known["pid"] > 0:
            return Holder(text, touched, known["token"], str(known["place"]), known["pid"], str(known["started"]))
    return Holder("", touched)


def _told(claim: Holder) -> str:
    return "".join(character for character in claim.text[:200] if character.isprintable()) or "another process"


def _started(pid: int) -> str | None:
    """Return when a process of this host was started, empty where that is not to be seen; None where there is none."""
    if os.name != "posix":
        return ""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except OSError:  # it is another user's
        pass
    try:
        # Behind the name, which may hold anything: the state, and further on the start in ticks since the boot.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return None if fields[0] in "ZX" else fields[19]


def _clock(folder: Path) -> float:
    """Return the time by the clock of a folder's file system; this host's where nothing can be written there."""
    try:
        probe = folder / f".{LOCK}.{secrets.token_hex(8)}"
        with probe.open("xb") as file:
            probe.unlink()
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime
    except (OSError, TypeError):
        return time.time()


def _absolute(folder: Path) -> Path:
    return Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow links
