"""Where data lie, and that they are files which end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gancore import GancoreError
from gancore.tools import as_path, cache_root


def data_root(root: str | None) -> Path:
    """Return the folder that holds the image sets: `root`, else GANCORE_DATA, else ``data`` in the cache folder."""
    chosen = root or os.environ.get("GANCORE_DATA")
    return expand_user(chosen) if chosen else cache_root() / "data"


def expand_user(path: str) -> Path:
    """Return a path with its leading ``~`` replaced by that user's home folder; what is no path is refused."""
    return as_path(path, "the path")


def exists(path: Path) -> bool:
    """Return whether a file or folder exists and may be read."""
    try:
        return path.exists()
    except OSError:
        return False


def check_ordinary(path: Path | str, most: int) -> None:
    """Refuse what is no ordinary file before it is opened: a pipe would be waited for, and a device may never end.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        OSError: It can't be looked at.
        GancoreError: It is no ordinary file, or a larger one.
    """
    status = os.stat(path)  # noqa: PTH116  a path as a text, of which a training has millions, costs a tenth of a Path
    if not stat.S_ISREG(status.st_mode):
        raise GancoreError(f"{Path(path).name} is no ordinary file")
    if status.st_size > most:
        raise GancoreError(f"{Path(path).name} has {status.st_size / 2**30:.1f} GiB, more than {most / 2**30:.1f}")
