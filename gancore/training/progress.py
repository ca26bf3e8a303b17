"""What a training shows: one line that renews itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping

import click


class Progress:
    """Is told how a training goes; this one shows nothing."""

    def announce(self, text: str) -> None:
        """Show one line."""

    def started(self, title: str, done: int, total: int) -> None:
        """A training starts, or goes on."""

    def advanced(self, iteration: int, rate: float | None, values: Mapping[str, float]) -> None:
        """So many iterations are done, at `rate` per second; `values` are the newest losses."""

    def ended(self) -> None:
        """The training ends."""


class Terminal(Progress):
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
        if self._dirty:
            click.echo("\r" + " " * (_columns() - 1) + "\r", nl=False, err=True)
            self._dirty = False
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
        if not (self._live or iteration >= self._total or now - self._shown >= self.PLAIN_EVERY):
            return
        self._shown = now
        left = f"  {rate:.1f} it/s  {duration((self._total - iteration) / rate)} left" if rate else ""
        losses = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
        text = f"{iteration:>7}/{self._total}{left}  {losses}"
        if self._live:
            width = _columns() - 1
            text = "\r" + text[:width].ljust(width)
        click.echo(text, nl=not self._live, err=True)
        self._dirty = self._live

    def ended(self) -> None:
        """The training ends."""
        if self._dirty:
            click.echo(err=True)
        self._dirty = False


def duration(seconds: float) -> str:
    """Return a time span in its two largest units: ``4.5 s``, ``12 min 3 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 59.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _columns() -> int:
    return shutil.get_terminal_size().columns
