"""Stopping a training by a signal, after its state was saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gancore.tools import distributed
from gancore_training.ranks import any_of

MEET_EVERY = 5.0
"""Seconds after which several processes agree whether one of them was told to stop; torchrun kills what takes 30."""

ECHO = 2.0
"""Seconds in which a second Ctrl-C is the first one's echo: torchrun sends its processes what their terminal has sent them."""

SIGNALS = [
    getattr(signal, name)
    # A cluster warns by one of the last three that time is running out.
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
]


class Interrupted(KeyboardInterrupt):
    """Training was stopped by a signal, after its state was saved.

    Attributes:
        saved: The newest checkpoint: of the training itself, or of one that it needs first.
    """

    saved: Path | None = None


class Stop:
    """Whether a signal asks a training to stop; of several processes, whether one of them was asked.

    Attributes:
        asked: Whether this process was asked.
    """

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._at_once = False
        self._agreed = False
        self._next_meeting = 0

    @property
    def now(self) -> bool:
        """Whether to stop after this iteration: several processes must in the same, so they stop as they last agreed."""
        return self.asked if distributed.world_size() == 1 else self._agreed

    def meet(self, iteration: int, rate: float, *, due: bool) -> None:
        """Agree with other processes, where it is due or time to, whether to stop, at so many iterations per second."""
        if distributed.world_size() > 1 and (due or iteration >= self._next_meeting):
            self._agreed = any_of(self.asked)
            self._next_meeting = distributed.agree(iteration + max(1, int(MEET_EVERY * rate)))

    def heed(self) -> None:
        """Stop here if any process was asked to. Of several processes all must call it together.

        Raises:
            Interrupted: One was.
        """
        if any_of(self.asked):
            raise Interrupted

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal end a block wherever it is: for long work on a saved state, whose loss costs no iteration.

        Several processes would wait for each other for ever, so there it is for `heed` alone.

        Raises:
            Interrupted: A signal came.
        """
        self._at_once = distributed.world_size() == 1
        try:
            yield
        finally:
            self._at_once = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of the first signal of `SIGNALS`; a second Ctrl-C stops at once."""

        def handle(number: int, _frame: Any) -> None:
            if self.asked and number == signal.SIGINT and time.monotonic() - self._since > ECHO:
                raise KeyboardInterrupt
            if not self.asked:
                self.asked, self._since = True, time.monotonic()
            if self._at_once:
                raise Interrupted

        # In another thread than the main one signals are somebody else's; what `nohup` ignores stays so.
        here = threading.current_thread() is threading.main_thread()
        before = {number: signal.getsignal(number) for number in SIGNALS if here}
        heard = [n for n, handler in before.items() if n == signal.SIGINT or handler != signal.SIG_IGN]
        for number in heard:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number in heard:
                signal.signal(number, before[number] or signal.SIG_DFL)
