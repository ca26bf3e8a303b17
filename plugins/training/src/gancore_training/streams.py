"""What a training has of its process: the default random streams of Python, NumPy and torch, which it seeds, and one turn."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator

import numpy as np
import torch

TURN = threading.RLock()
"""Held while an iteration runs or a run is built: both seed the default streams, so of several threads one at a time does."""

_put_back: dict[str, Callable[[], None]] = {}
"""What puts back each stream that somebody uses now."""

_users = 0


@contextlib.contextmanager
def streams_as_before(device: torch.device) -> Iterator[None]:
    """Put the default random streams back to where they were when the block ends; of several blocks, the last."""
    global _users
    with TURN:
        _users += 1
        for name, read in _streams(device).items():
            if name not in _put_back:
                _put_back[name] = read()
    try:
        yield
    finally:
        with TURN:
            _users -= 1
            while _put_back and not _users:
                _put_back.popitem()[1]()


def _streams(device: torch.device) -> dict[str, Callable[[], Callable[[], None]]]:
    """Return for each default stream what reads where it is, and gives what puts it back there."""

    def python() -> Callable[[], None]:
        state = random.getstate()
        return lambda: random.setstate(state)

    def numpy() -> Callable[[], None]:
        state = np.random.get_state()
        return lambda: np.random.set_state(state)

    def cpu() -> Callable[[], None]:
        state = torch.get_rng_state()
        return lambda: torch.set_rng_state(state)

    def cuda() -> Callable[[], None]:
        state = torch.cuda.get_rng_state(device)
        return lambda: torch.cuda.set_rng_state(state, device)

    return {"python": python, "numpy": numpy, "cpu": cpu, **({str(device): cuda} if device.type == "cuda" else {})}
