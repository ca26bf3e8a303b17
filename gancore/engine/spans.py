"""Named spans of an iteration, for whoever wants to know where its time goes; next to nothing when nobody listens.

The step says what it is about to do, ``with span("networks", "generator", "forward"):``; a listener is told when a span
begins and ends. Spans nest, as calls do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Name(NamedTuple):
    """What a span is.

    Attributes:
        group: The recipe's group of parts (``networks``, ``losses``), ``phase`` for a whole turn, or what it is: ``backward``.
        label: The part's recipe label, or the player whose turn it is.
        work: What the part does: ``forward``, ``draw``.
    """

    group: str
    label: str = ""
    work: str = ""

    @property
    def part(self) -> str:
        """The part as a recipe names it, e.g. ``losses.balance``."""
        return f"{self.group}.{self.label}" if self.label else self.group


Path = tuple[Name, ...]
"""The spans that are open, outermost first; empty outside any."""


class Listener(Protocol):
    """What hears of spans."""

    def enter(self, name: Name) -> None:
        """Hear that a span begins."""

    def leave(self) -> None:
        """Hear that the innermost span ends."""


_listener: Listener | None = None
_SILENT: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


class _Span:
    __slots__ = ("listener", "name")

    def __init__(self, listener: Listener, name: Name) -> None:
        self.listener = listener
        self.name = name

    def __enter__(self) -> None:
        self.listener.enter(self.name)

    def __exit__(self, *_: object) -> None:
        self.listener.leave()


def span(group: str, label: str = "", work: str = "") -> contextlib.AbstractContextManager[None]:
    """Return a context for one piece of work; see `Name` for the arguments."""
    # The words stay apart until somebody listens: joining them costs more than the rest of the call.
    return _SILENT if _listener is None else _Span(_listener, Name(group, label, work))


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell a listener of every span of this process inside the ``with``, in place of the one before."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before
