"""Where a training's time went."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

import attrs


class Timed(Protocol):
    """A line of a run's log or scores."""

    @property
    def iteration(self) -> int:
        """Iterations done."""

    @property
    def seconds(self) -> float | None:
        """Of training until then (log), or that the evaluation took (scores); None where it is not known."""


@attrs.frozen
class WallClock:
    """Seconds that a training spent.

    Attributes:
        training: On iterations.
        evaluation: On scoring.
    """

    training: float
    evaluation: float

    @property
    def share(self) -> float | None:
        """Evaluation's share of both; None where nothing took any time."""
        total = self.training + self.evaluation
        return self.evaluation / total if total else None


def wall_clock(log: Sequence[Timed], scores: Iterable[Timed]) -> WallClock:
    """Return where the time of a training went, resumed ones included.

    Iterations that a crash made undone, and that a resumed run made again, count once. `gancore evaluate` appends to the
    scores too: of an iteration's evaluations the first counts, which is the training's own.

    Args:
        log: Lines of the log, in the order in which they were written. Their seconds are summed up from the first iteration.
        scores: Lines of the scores, in the order in which they were written.
    """
    first: dict[int, float] = {}
    for line in scores:
        first.setdefault(line.iteration, _known(line.seconds))
    return WallClock(_known(log[-1].seconds) if log else 0.0, sum(first.values()))


def _known(seconds: float | None) -> float:
    return seconds if seconds is not None and math.isfinite(seconds) and seconds > 0 else 0.0
