"""Running a stranger's code at discovery: within time, printing nothing, and leaving the process as it was."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

SECONDS = 8.0
"""How long the import of a declaring module, or a hook of it, may take."""


class CtrlC(KeyboardInterrupt):
    """The user's interrupt, which ends the command, where a plugin that raises KeyboardInterrupt is merely broken."""


class TooLong(BaseException):
    """A stranger's code does not end."""


@contextlib.contextmanager
def isolated(warn: Callable[[str], None], seconds: float = SECONDS) -> Iterator[None]:
    """Run the block within some seconds, show nothing of what it prints, and undo what it changes of the process.

    Args:
        warn: Told what it did, e.g. ``"changes sys.path"``.
        seconds: How long it may take.

    Raises:
        TooLong: It does not end; where it waits for the operating system or runs Python, and in the main thread alone.
        CtrlC: The user interrupts it.
    """
    before = {name: read() for name, (read, _) in _STATE.items()}
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), _in_time(seconds):
            yield
    finally:
        if printed.getvalue():
            warn("prints")
        for name, (read, restore) in _STATE.items():
            if read() != before[name]:
                warn(f"changes {name}")
                restore(before[name])


@contextlib.contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in the block when its time is over, and `CtrlC` when the user interrupts it as usual."""
    # Python lets the main thread alone set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    alarm = signal.signal(signal.SIGALRM, _raise(TooLong))
    if usual:
        signal.signal(signal.SIGINT, _raise(CtrlC))
    # Again each second, for code that catches everything.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm or signal.SIG_DFL)
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _raise(error: type[BaseException]) -> Callable[..., None]:
    def handler(*_: object) -> None:
        raise error

    return handler


def _folder() -> str | None:
    with contextlib.suppress(OSError):  # it may be deleted
        return os.getcwd()  # noqa: PTH109
    return None


def _set_folder(before: str | None) -> None:
    if before is not None:
        os.chdir(before)


def _set_environment(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


def _set_handlers(before: dict[int, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in [number for number, own in before.items() if own is not None and signal.getsignal(number) != own]:
            signal.signal(number, before[number])


_STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "the working folder": (_folder, _set_folder),
    "the environment": (lambda: dict(os.environ), _set_environment),
    "sys.path": (lambda: list(sys.path), lambda before: sys.path.__setitem__(slice(None), before)),
    "signal handlers": (lambda: {number: signal.getsignal(number) for number in signal.valid_signals()}, _set_handlers),
}
"""What a plugin may change of the process: its name, how it is read, and how it is put back."""
