"""Stopping a training by a signal, after its state was saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gancore.parallel import distributed

MEET_EVERY = 5.0
"""Seconds after which several processes agree whether one of them was told to stop; torchrun kills what takes 30."""


class Interrupted(Exception):  # noqa: N818 - it is no error, the run is saved
    """Training was stopped by a signal, after its state was saved."""


class Stop:
    """Whether a signal asks a training to stop; of several processes, whether one of them was asked.

    Attributes:
        asked: Whether this process was asked.
    """

    def __init__(self) -> None:
        self.asked = False
        self._agreed = False
        self._next_meeting = 0

    @property
    def now(self) -> bool:
        """Whether to stop after this iteration: several processes must in the same, so they stop as they last agreed."""
        return self.asked if distributed.world_size() == 1 else self._agreed

    def meet(self, iteration: int, rate: float, *, due: bool) -> None:
        """Agree with other processes, where it is due or time to, whether to stop, at so many iterations per second."""
        if distributed.world_size() > 1 and (due or iteration >= self._next_meeting):
            self._agreed = distributed.any_of(self.asked)
            self._next_meeting = distributed.agree(iteration + max(1, int(MEET_EVERY * rate)))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of the first Ctrl-C or termination; a second one stops at once."""

        def handle(_number: int, _frame: Any) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        # In another thread than the main one signals are somebody else's.
        mine = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        before = {number: signal.signal(number, handle) for number in mine}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
