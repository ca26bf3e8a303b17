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

    Iterations that a crash made undone count once. `gancore evaluate` appends to the scores too: of an iteration's evaluations
    the first counts, which is the training's own.

    Attributes:
        seconds: Of ``training`` (iterations), ``evaluation``, and ``other`` (samples, checkpoints, exported weights).

    Args:
        folder: The run's folder, whose log and scores say what was spent before.
        iteration: How many iterations are done.
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


def _known(seconds: object) -> float:
    return float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) and seconds > 0 else 0.0
