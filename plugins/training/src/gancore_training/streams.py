"""What a training has of its process: the default random streams of Python, NumPy and torch, which it seeds, and one turn."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator

import numpy as np
import torch

TURN = threading.RLock()
"""Held while an iteration runs or a run is built: both seed the default streams, so of several threads one at a time does."""


@contextlib.contextmanager
def streams_as_before(device: torch.device) -> Iterator[None]:
    """Put the default random streams back to where they were when the block ends."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
