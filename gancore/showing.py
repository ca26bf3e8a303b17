"""Showing text alone, and never ending what is shown: a terminal that goes away, a pipe without a reader, a closed stream."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from gancore.errors import plain


def say(text: str) -> None:
    """Print lines of text and of nothing that a terminal would obey, once for all processes."""
    if os.environ.get("RANK", "0") == "0":
        click.echo("\n".join(map(plain, text.split("\n"))))


class Unfailing:
    """A text stream whose failures end nothing; what can't be written is lost.

    Args:
        stream: The stream; None, as Python has it where a process was started without, for one that takes everything.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        """Return whether somebody may be looking."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream is not None and bool(self._stream.isatty())
        return False

    def write(self, text: str) -> int:
        """Write a text."""
        if not isinstance(text, str):
            raise TypeError(f"a text stream takes text, not {type(text).__name__}")
        self._attempt("write", text)
        return len(text)

    def flush(self) -> None:
        """Write what waits to be written."""
        self._attempt("flush")

    def _attempt(self, method: str, *texts: str) -> None:
        if self._stream is None:
            return
        try:
            getattr(self._stream, method)(*texts)
        except UnicodeError:
            raise
        except (OSError, ValueError):
            # What waits in the stream would fail again when Python ends.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


@contextlib.contextmanager
def unfailing() -> Iterator[None]:
    """Have standard output and standard error never fail until the block ends."""
    for descriptor in range(3):
        # Where one is closed, the next file to be opened would take its place, and whatever a library prints.
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    out: Any = Unfailing(sys.stdout)
    errors: Any = Unfailing(sys.stderr)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        yield
