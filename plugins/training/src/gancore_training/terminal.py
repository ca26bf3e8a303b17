"""Progress on standard error: a bar and numbers that renew themselves on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from gancore import GancoreError
from gancore.tools import DISCRIMINATOR, GENERATOR, Unfailing, plain
from gancore_training.progress import Progress, duration

SHORT = {DISCRIMINATOR: "D", GENERATOR: "G"}
"""Players -> what stands before their losses."""

LEAST_BAR = 10
"""Columns of the bar."""

LOSS_LINES = 2
"""Lines of losses."""


class Terminal(Progress):
    """Shows progress on standard error.

    Args:
        ask: Ask, where somebody looks and may answer, before trainings of more than `LONG` seconds begin.
    """

    LONG = 600.0

    PLAIN_EVERY = 20.0
    """Seconds between lines where there is no terminal."""

    LIVE_EVERY = 0.2
    """Seconds between two looks of the bar."""

    def __init__(self, *, ask: bool = False) -> None:
        self._ask = ask
        self._stream: Any = Unfailing(sys.stderr)
        self._live = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._shown = time.monotonic()
        self._lines = 0
        self._bar = _bar_of(getattr(self._stream, "encoding", None))
        self.began("", Path(), 0, 0)

    def agree(self, seconds: float) -> None:
        """Ask whether to begin what takes long.

        Raises:
            GancoreError: No.
        """
        if not (self._ask and self._live and seconds > self.LONG and Unfailing(sys.stdin).isatty()):
            return
        if not click.confirm(f"About {duration(float(f'{seconds:.2g}'))} in all. Go on?", default=True, err=True):
            raise GancoreError("nothing is trained; --yes begins without asking, --iterations makes it shorter.")
        self._ask = False

    def began(self, name: str, folder: Path, iteration: int, total: int) -> None:
        """A training begins; what is shown of another one is over."""
        self._name, self._folder, self._total = name, folder, total
        self._start = self._logged = iteration, time.monotonic()
        self._rate = 0.0
        self._losses: Mapping[str, float] = {}
        self._scores = ""

    def announce(self, text: str) -> None:
        """Show one line."""
        below = self._lines
        self._erase()
        click.echo(plain(text), self._stream)
        if below:
            self._draw(self._iteration)

    def ticked(self, iteration: int) -> None:
        """So many iterations are done."""
        if self._live and time.monotonic() - self._shown >= self.LIVE_EVERY:
            self._draw(iteration)

    def scored(self, iteration: int, scores: Mapping[str, float]) -> None:
        """There are new scores."""
        # `fid/fid` is the metric's label and the score's name; once is enough.
        short = {"/".join(dict.fromkeys(name.split("/"))): value for name, value in scores.items()}
        self._scores = f"{', '.join(f'{name} {value:.4g}' for name, value in short.items())} at {iteration}"

    def advanced(self, iteration: int, total: int, rate: float, values: Mapping[str, float]) -> None:
        """So many iterations of all are done."""
        now = time.monotonic()
        self._total, self._rate, self._losses, self._logged = total, rate, values, (iteration, now)
        if self._live:
            self._draw(iteration)
        elif iteration >= total or now - self._shown >= self.PLAIN_EVERY:
            self._shown = now
            losses = "  ".join(f"{name} {value:.3f}" for name, value in values.items())
            left = duration((total - iteration) / rate)
            click.echo(f"{iteration:>7}/{total}  {rate:.1f} it/s  {left} left  {losses}", self._stream)

    def ended(self) -> None:
        """The training ends."""
        if self._lines:
            click.echo(file=self._stream)
        self._lines = 0

    def _erase(self) -> None:
        """Take away what is drawn, and stand where it began."""
        if self._lines:
            up = f"\x1b[{self._lines - 1}A" if self._lines > 1 else ""
            click.echo(f"\r{up}\x1b[J", self._stream, nl=False, color=True)
        self._lines = 0

    def _draw(self, iteration: int) -> None:
        self._iteration, self._shown = iteration, time.monotonic()
        lines = list(self._looks(iteration, max(shutil.get_terminal_size().columns - 1, 20)))
        self._erase()
        click.echo("\n".join(lines), self._stream, nl=False)
        self._lines = len(lines)

    def _looks(self, iteration: int, width: int) -> Iterator[str]:
        """Yield the lines: bar and times, losses, and the last scores and the folder."""
        elapsed = self._shown - self._start[1]
        # Before the first line of the log, and where iterations have become slower since, what is measured here counts.
        rate = self._rate or (iteration - self._start[0]) / max(elapsed, 1e-9)
        left = duration((self._total - iteration) / rate) if rate else "?"
        shown = f"{rate:.3g} it/s" if rate >= 1 or not rate else f"{1 / rate:.3g} s/it"
        numbers = f" {iteration}/{self._total}  {duration(round(elapsed))}, {left} left  {shown}"
        done = min(iteration / self._total, 1.0) if self._total else 0.0
        room = max(width - len(numbers) - 6, LEAST_BAR)
        full = int(done * room)
        yield f"{self._bar[0] * full}{self._bar[1] * (room - full)} {int(100 * done):>3} %{numbers}"[:width]
        yield from _losses_text(self._losses, width)
        yield _ends(plain(self._scores), plain(f"into {self._folder}"), width)


def _losses_text(losses: Mapping[str, float], width: int) -> Iterator[str]:
    """Yield all losses, below the players that they are of, in so few lines that they don't push the rest away."""
    players: dict[str, list[str]] = {}
    for name, value in losses.items():
        player, _, label = plain(name).partition("/")
        players.setdefault(SHORT.get(player, player), []).append(f"{label} {_number(value)}".strip())
    text = "   ".join(f"{player}: {'  '.join(values)}" for player, values in players.items())
    lines = textwrap.wrap(text, width, drop_whitespace=True)
    if len(lines) > LOSS_LINES:
        lines = [*lines[: LOSS_LINES - 1], f"{' '.join(lines[LOSS_LINES - 1 :])[: width - 4]} ..."]
    yield from lines


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.3g}"


def _ends(left: str, right: str, width: int) -> str:
    """Return a line with one text at its left and one at its right, of which the beginnings are cut where both don't fit."""
    room = width - min(len(left), width // 2) - 2
    right = right if len(right) <= room else f"into ...{right[len(right) - room + 8 :]}"
    left = left if len(left) <= width - len(right) - 2 else f"{left[: width - len(right) - 6]} ..."
    return left + " " * (width - len(left) - len(right)) + right if left else right


def _bar_of(encoding: str | None) -> tuple[str, str]:
    """Return what a bar is drawn with: done, and to do."""
    try:
        "\u2588\u2591".encode(encoding or "ascii")
    except (UnicodeError, LookupError):
        return "#", "-"
    return "\u2588", "\u2591"
