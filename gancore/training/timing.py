"""Where a training's time went. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from gancore.training.run_folder import RunFolder, entries


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
        other: On samples and checkpoints; None where that was not measured.
    """

    training: float
    evaluation: float
    other: float | None = None

    @property
    def share(self) -> float | None:
        """Evaluation's share of all that was measured; None where nothing took any time."""
        total = self.training + self.evaluation + (self.other or 0.0)
        return self.evaluation / total if total else None

    def text(self) -> str:
        """Return one line that says it all."""
        parts = [f"trained {_duration(self.training)}"]
        if self.evaluation:
            parts.append(f"evaluation {_duration(self.evaluation)} ({_percent(self.share or 0.0)} of the wall clock)")
        if self.other is not None:
            parts.append(f"samples and checkpoints {_duration(self.other)}")
        return ", ".join(parts)


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


def read_wall_clock(folder: RunFolder) -> WallClock:
    """Return where the time of the run in a folder went, as far as its log and its scores tell."""
    log, scores = (list(map(_line, entries(path))) if path.exists() else [] for path in (folder.log, folder.scores))
    return wall_clock(log, scores)


@attrs.frozen
class _Line:
    iteration: int
    seconds: float | None


def _line(entry: Mapping[str, Any]) -> _Line:
    seconds = entry.get("seconds")
    return _Line(entry["iteration"], float(seconds) if isinstance(seconds, int | float) else None)


def _known(seconds: float | None) -> float:
    return seconds if seconds is not None and math.isfinite(seconds) and seconds > 0 else 0.0


def _duration(seconds: float) -> str:
    """Return a time span: ``4.5 s``, ``12 min 3 s``, ``2 h 5 min``."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def _percent(share: float) -> str:
    """Return a share of one in whole percent; a small one is not written as nothing."""
    return "under 1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"
