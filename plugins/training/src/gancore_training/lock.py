"""The lock of a folder: one process holds it, and the operating system lets go of it however that process ends."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from gancore import GancoreError
from gancore.tools import locked, writing


class InUse(GancoreError):  # noqa: N818 - it says what is the case
    """Another process holds a folder."""


LOCK = "in-use"
"""Name of the file that is locked; it says who holds the folder, and is gone when nobody does."""


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold a folder. It is made where it is missing, and removed again where nothing came into it.

    What a killed process leaves binds nobody: the lock is the operating system's, and not that the file is there.

    Raises:
        InUse: Another process holds it.
        GancoreError: It is a file, or can't be written.
    """
    with writing(folder, "choose another --out"):
        if folder.exists() and not folder.is_dir():
            raise GancoreError(f"{folder} is a file; choose another --out.")
        absent = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with _locked(folder):
            yield
    finally:
        with contextlib.suppress(OSError):
            for each in absent:
                each.rmdir()


def held(folder: Path) -> bool:
    """Return whether a process holds a folder now."""
    with contextlib.suppress(OSError), (folder / LOCK).open("rb") as file:
        return not locked(file.fileno())
    return False


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    path, flags = folder / LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        with writing(folder, "choose another --out"):
            folder.mkdir(parents=True, exist_ok=True)
            file = os.fdopen(os.open(path, flags, 0o644), "r+", errors="replace")
        with file:
            if not locked(file.fileno()):
                holder = "".join(character for character in file.read(200) if character.isprintable())
                raise InUse(f"{folder} is in use by {holder or 'another process'}; wait for it, or choose another --out.")
            # Who held it before may have removed the file after it was opened here.
            if not _is(path, file.fileno()):
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S %z')}")
            file.flush()
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
        return


def _is(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one at a path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
