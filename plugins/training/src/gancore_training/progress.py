"""How a training goes: where its time goes, and who is told of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gancore_training.run_folder import RunFolder, entries


class Clock:
    """Counts the seconds of a training, those before a resume included.

    Iterations that a crash made undone count once. `gancore evaluate` appends to the scores too: of an iteration's evaluations
    the first counts, which is the training's own. ``other`` are samples, checkpoints and exported weights.
    """

    def __init__(self, folder: RunFolder, iteration: int) -> None:
        logged, scored = entries(folder.log)[-1:], entries(folder.scores)
        # Of entries with one iteration the last one stays in a dictionary, so they come in reverse.
        evaluations = {entry["iteration"]: _known(entry.get("seconds")) for entry in reversed(scored)}
        self.seconds = {
            "training": sum(_known(entry.get("seconds")) for entry in logged),
            "evaluation": sum(evaluations.values()),
            "other": sum(_known(entry.get("other_seconds")) for entry in logged),
        }
        self.line(iteration)

    @contextmanager
    def counting(self, what: str) -> Iterator[None]:
        """Count the seconds of a block."""
        started = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - started

    def line(self, iteration: int) -> None:
        """The log takes a line."""
        self._line = iteration, self.seconds["training"]

    def rate(self, iteration: int) -> float:
        """Return the iterations per second since the last line of the log."""
        logged, seconds = self._line
        return (iteration - logged) / max(self.seconds["training"] - seconds, 1e-9)

    def told(self) -> str:
        """Return in one line where the time of the training went."""
        training, evaluation, other = self.seconds.values()
        spent = [f"trained {duration(training)}"]
        if evaluation:
            share = evaluation / (training + evaluation + other)
            percent = "under 1" if share < 0.005 else f"{100 * share:.0f}"
            spent.append(f"evaluation {duration(evaluation)} ({percent} % of the wall clock)")
        return ", ".join([*spent, f"samples and checkpoints {duration(other)}"])


class Progress:
    """Is told how a training goes; this one shows nothing."""

    def announce(self, text: str) -> None:
        """Show one line."""

    def agree(self, seconds: float) -> None:
        """Trainings of about so many seconds are to begin.

        Raises:
            GancoreError: Nobody wants to wait so long.
        """

    def began(self, name: str, folder: Path, iteration: int, total: int) -> None:
        """The training of a recipe of this name into a folder begins, or goes on after so many iterations of all."""

    def ticked(self, iteration: int) -> None:
        """So many iterations are done; called after each, so whoever overrides this must be quick."""

    def scored(self, iteration: int, scores: Mapping[str, float]) -> None:
        """The generator of an iteration has these scores."""

    def advanced(self, iteration: int, total: int, rate: float, values: Mapping[str, float]) -> None:
        """So many iterations of all are done, at `rate` per second; `values` are the newest losses."""

    def ended(self) -> None:
        """The training ends."""


def duration(seconds: float) -> str:
    """Return a time span in its two largest units: ``4.5 s``, ``12 min 3 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 59.5:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _known(seconds: object) -> float:
    return float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0 else 0.0
