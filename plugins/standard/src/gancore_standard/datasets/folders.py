"""Where data lie: the folder of the image sets, and the one for what can be made again."""

from __future__ import annotations

import os
from pathlib import Path

from gancore.tools import cache_root


def data_root(root: str | None) -> Path:
    """Return the folder that holds the image sets: `root`, else GANCORE_DATA, else ``data`` in the cache folder."""
    chosen = root or os.environ.get("GANCORE_DATA")
    return expand_user(chosen) if chosen else cache_folder(None) / "data"


def cache_folder(cache: str | None) -> Path:
    """Return the folder for what can be made again: `cache`, else GANCORE_CACHE, else ``~/.cache/gancore``."""
    return expand_user(cache) if cache else cache_root()


def expand_user(path: str) -> Path:
    """Return a path with its leading ``~`` replaced by that user's home folder, where there is such a user."""
    # Path.expanduser raises RuntimeError for a user that does not exist.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def exists(path: Path) -> bool:
    """Return whether a file or folder exists and may be read."""
    try:
        return path.exists()
    except OSError:
        return False
