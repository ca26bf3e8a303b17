"""The splits of an image set."""

from __future__ import annotations

from gancore import GancoreError
from gancore.tools import did_you_mean

SPLITS = ("train", "test")


def check_split(split: str) -> None:
    """Raise `GancoreError` unless `split` is ``"train"`` or ``"test"``."""
    if split not in SPLITS:
        raise GancoreError(f"An image set has the splits 'train' and 'test', not {split!r}{did_you_mean(split, SPLITS)}.")
