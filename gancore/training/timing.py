"""Where a training's time goes: on iterations, on scores, on what is written."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gancore.training.progress import duration
from gancore.training.run_folder import RunFolder, entries


class Clock:
    """Counts the seconds of a training, those before a resume included.

    Attributes:
        training: Seconds of iterations, until the last line of the log.
        other: Seconds on samples, checkpoints and exported weights.

    Args:
        folder: The run's folder, whose log says what was spent before.
        iteration: How many iterations are done.
    """

    def __init__(self, folder: RunFolder, iteration: int) -> None:
        last = (list(entries(folder.log)) if folder.log.exists() else [])[-1:]
        self.training: float = last[0]["seconds"] if last else 0.0
        self.other: float = last[0].get("other_seconds", 0.0) if last else 0.0
        self._since_line = 0.0
        self._line_at = iteration
        self._started = 0.0

    def start(self) -> None:
        """An iteration begins."""
        self._started = time.perf_counter()

    def stop(self) -> None:
        """What follows is no part of the iterations."""
        self._since_line += time.perf_counter() - self._started

    def seconds_each(self, iteration: int) -> float:
        """Return how long the iterations since the last line of the log took; the last one still runs."""
        return (self._since_line + time.perf_counter() - self._started) / max(1, iteration - self._line_at)

    def line(self, iteration: int) -> float:
        """Take the log's next line: count its seconds, and return its iterations per second."""
        rate = (iteration - self._line_at) / max(self._since_line, 1e-9)
        self.training += self._since_line
        self._since_line, self._line_at = 0.0, iteration
        return rate

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count what is done within as neither training nor evaluation."""
        started = time.perf_counter()
        yield
        self.other += time.perf_counter() - started


def time_spent(folder: RunFolder, other: float) -> str:
    """Return in one line where the time of the training in a folder went, as far as its log and its scores tell.

    Iterations that a crash made undone count once. `gancore evaluate` appends to the scores too: of an iteration's evaluations
    the first counts, which is the training's own.

    Args:
        folder: The run's folder.
        other: Seconds on samples, checkpoints and exported weights.
    """
    log, scores = (list(entries(path)) if path.exists() else [] for path in (folder.log, folder.scores))
    training = _known(log[-1].get("seconds")) if log else 0.0
    # Of entries with one iteration the last one stays in a dictionary, so they come in reverse.
    evaluation = sum({entry["iteration"]: _known(entry.get("seconds")) for entry in reversed(scores)}.values())
    told = [f"trained {duration(training)}"]
    if evaluation:
        share = evaluation / (training + evaluation + other)
        percent = "under 1" if share < 0.005 else f"{100 * share:.0f}"
        told.append(f"evaluation {duration(evaluation)} ({percent} % of the wall clock)")
    return ", ".join([*told, f"samples and checkpoints {duration(other)}"])


def _known(seconds: object) -> float:
    return float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0 else 0.0
