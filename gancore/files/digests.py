"""Digests: short names that change when what they stand for does, and the folder of what is kept under them.

They guard against mistakes, not against malice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from gancore.files.paths import as_path


def digest(pieces: Iterable[bytes], characters: int = 12) -> str:
    """Return hexadecimal characters that change when any byte does; where the pieces end does not count.

    Args:
        pieces: The bytes, in order.
        characters: How many, an even number.
    """
    state = hashlib.blake2b(digest_size=characters // 2)
    for piece in pieces:
        state.update(piece)
    return state.hexdigest()


def cache_root() -> Path:
    """Return the folder for what can be made again: GANCORE_CACHE, or ``~/.cache/gancore``.

    Raises:
        GancoreError: GANCORE_CACHE is no path, or is not set for a user without a home folder.
    """
    named = os.environ.get("GANCORE_CACHE")
    return as_path(named, "GANCORE_CACHE") if named else as_path("~/.cache/gancore", "without GANCORE_CACHE the cache")
