"""Appending lines to a file so that none is lost."""

from __future__ import annotations

import os
from pathlib import Path

from gancore.tools import writing

_OWN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def append_line(path: Path, line: str, remedy: str = "free space there") -> None:
    """Append a line to a text file. Half a line, which a crash or a full disk has left at its end, is ended first.

    Raises:
        GancoreError: It can't be written, or the file is a link.
    """
    with writing(path, remedy), os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _OWN, 0o666), "ab+") as file:
        whole = True
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            whole = file.read(1) == b"\n"
        # In one piece, so that what another process appends meanwhile stands before or after it.
        file.write(f"{'' if whole else chr(10)}{line}\n".encode())
