"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from gancore.errors import GancoreError


@contextlib.contextmanager
def writing(path: Path, remedy: str) -> Iterator[None]:
    """Say in a sentence that a path can't be written, and what to do, where the operating system says so."""
    try:
        yield
    except OSError as error:
        raise GancoreError(f"{path} can't be written: {error.strerror or error}; {remedy}.") from error


@contextlib.contextmanager
def replacing(path: Path, remedy: str = "choose another --out, or free space there") -> Iterator[Path]:
    """Give a path beside a file to write to, which takes the file's place when the block ends.

    Whatever happens, a crash included, the file is the old one or the new one. Missing folders are made.

    Args:
        path: The file.
        remedy: What the error tells the user to do.

    Raises:
        GancoreError: It can't be written.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(path, remedy):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file, all or nothing; missing folders are made.

    Raises:
        GancoreError: It can't be written.
    """
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
