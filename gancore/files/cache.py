"""The folder for what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Return the folder for what can be made again: GANCORE_CACHE, or ``~/.cache/gancore``."""
    # Path.expanduser raises RuntimeError for a user that does not exist.
    return Path(os.path.expanduser(os.environ.get("GANCORE_CACHE") or "~/.cache/gancore"))  # noqa: PTH111
