"""What a training shows: one line that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Protocol

import click


class Terminal:
    """Shows progress on standard error."""

    PLAIN_EVERY = 20.0
    """Seconds between lines where there is no terminal."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._total = 0
        self._shown = 0.0
        self._dirty = False

    def announce(self, text: str) -> None:
        """Show one line."""
        self._clear()
        if text:
            click.echo(text, err=True)

    def started(self, title: str, done: int, total: int) -> None:
        """A training starts, or goes on."""
        self._total = total
        self._shown = time.monotonic()
        self.announce(f"{title}: going on after {done} of {total} iterations" if done else f"{title}: {total} iterations")

    def advanced(self, iteration: int, rate: float | None, values: Mapping[str, float]) -> None:
        """So many iterations are done."""
        now = time.monotonic()
        last = iteration >= self._total
        if not (self._live or last or now - self._shown >= self.PLAIN_EVERY):
            return
        self._shown = now
        losses = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        left = ""
        if rate:
            seconds = (self._total - iteration) / rate
            left = f"  {rate:.1f} it/s  {_duration(seconds)} left"
        text = f"{iteration:>7}/{self._total}{left}  {losses}"
        if not self._live:
            click.echo(text, err=True)
            return
        width = _columns()
        click.echo("\r" + text[: width - 1].ljust(width - 1), nl=False, err=True)
        self._dirty = True

    def ended(self) -> None:
        """The training ends."""
        if self._dirty:
            click.echo(err=True)
        self._dirty = False

    def _clear(self) -> None:
        if self._dirty:
            click.echo("\r" + " " * (_columns() - 1) + "\r", nl=False, err=True)
            self._dirty = False


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress(Protocol):
    """What training tells whoever watches."""

    def announce(self, text: str) -> None:
        """Show one line."""

    def started(self, title: str, done: int, total: int) -> None:
        """A training starts, or goes on."""

    def advanced(self, iteration: int, rate: float | None, values: Mapping[str, float]) -> None:
        """So many iterations are done."""

    def ended(self) -> None:
        """The training ends."""


class Silent:
    """A `Progress` that shows nothing."""

    def announce(self, text: str) -> None:
        """Show nothing."""

    def started(self, title: str, done: int, total: int) -> None:
        """Show nothing."""

    def advanced(self, iteration: int, rate: float | None, values: Mapping[str, float]) -> None:
        """Show nothing."""

    def ended(self) -> None:
        """Show nothing."""
