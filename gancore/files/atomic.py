"""Writing files whole or not at all; no link is followed at a name of ours."""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import zlib
from collections.abc import Iterator
from pathlib import Path

from gancore.errors import GancoreError

try:
    import fcntl
except ImportError:  # Windows, where nobody can tell whether a writer still lives
    fcntl = None  # type: ignore[assignment]

_SUFFIX = f".{zlib.crc32(platform.node().encode()):08x}.gancore-part"
# With the host in it: whether a writer on another one still lives, not every network drive tells.
_OWN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@contextlib.contextmanager
def writing(path: Path, remedy: str) -> Iterator[None]:
    """Say in a sentence that a path can't be written, and what to do, where the operating system says so."""
    try:
        yield
    except (OSError, ValueError) as error:  # of a name with a zero byte Python says the latter
        raise GancoreError(f"{path} can't be written: {getattr(error, 'strerror', None) or error}; {remedy}.") from error


@contextlib.contextmanager
def replacing(path: Path, remedy: str = "choose another --out, or free space there") -> Iterator[Path]:
    """Give a path beside a file to write to, which takes the file's place when the block ends.

    Whatever happens, a crash included, the file is the old one or the new one. Missing folders are made. What a writer that
    was killed has left in the folder is removed.

    Args:
        path: The file.
        remedy: What the error tells the user to do.

    Raises:
        GancoreError: It can't be written.
    """
    with writing(path, remedy):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        beside, handle = _temporary(path)
    try:
        with writing(path, remedy):
            yield beside
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
        os.close(handle)


def locked(handle: int, *, wait: bool = False) -> bool:
    """Lock an open file until it is closed, unless another process has; Windows has no such lock, and nothing is guarded."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
    return True


def sweep(folder: Path) -> None:
    """Remove the temporary files of writers that were killed; those of writers that live are locked."""
    for left in folder.glob(f".*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            handle = os.open(left, os.O_RDWR | _OWN)
            try:
                if locked(handle):
                    left.unlink()
            finally:
                os.close(handle)


def _temporary(path: Path) -> tuple[Path, int]:
    """Make a file beside another, under a name that nobody can foresee, and lock it as long as its handle is open."""
    while True:
        beside = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}{_SUFFIX}")
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OWN, 0o666)
        # Some network drives have no locks.
        with contextlib.suppress(OSError):
            locked(handle, wait=True)
        # Between the two another process may have taken it for one that was left, and removed it.
        if beside.exists():
            return beside, handle
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file, all or nothing; missing folders are made.

    Raises:
        GancoreError: It can't be written.
    """
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
