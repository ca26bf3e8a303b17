"""The checkpoints that a run's folder holds, by iteration and by score. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import attrs

from gancore import GancoreError
from gancore.tools import did_you_mean, listed
from gancore_training.run_folder import RunFolder, checkpoints, entries

_BEST = "best"
_DIGITS = 15


@attrs.frozen
class Score:
    """One value that a run's folder holds.

    Attributes:
        iteration: Whose weights were scored.
        value: The score.
        protocol: The ``id`` of its protocol; values of different ones are never compared.
        better: ``lower`` or ``higher``.
    """

    iteration: int
    value: float
    protocol: str
    better: str

    @property
    def rank(self) -> tuple[float, int]:
        """What is least for the best value; of equal ones the first."""
        return (self.value if self.better == "lower" else -self.value), self.iteration


def scores_of(folder: RunFolder, name: str) -> list[Score]:
    """Return every finite value of a score, e.g. ``fid/fid``, in the order in which they were computed."""
    read = [_score(entry, name) for entry in entries(folder.scores)]
    return [score for score in read if score is not None]


def _score(entry: Mapping[str, Any], name: str) -> Score | None:
    value, better = (_table(entry, key).get(name) for key in ("scores", "better"))
    protocol = _table(_table(entry, "protocols"), name.split("/")[0]).get("id")
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    if better not in ("lower", "higher") or not isinstance(protocol, str):
        return None
    return Score(entry["iteration"], float(value), protocol, better)


def _table(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def best_by_protocol(folder: RunFolder, name: str) -> dict[str, Score]:
    """Return the best value of a score among those whose checkpoints are stored, for each protocol that it has values of."""
    stored = {int(path.stem) for path in checkpoints(folder.path)}
    best: dict[str, Score] = {}
    for score in scores_of(folder, name):
        if score.iteration in stored and (score.protocol not in best or score.rank < best[score.protocol].rank):
            best[score.protocol] = score
    return best


def kept_for_score(folder: Path, name: str) -> set[Path]:
    """Return the checkpoints that are kept for a score, the best of each protocol; none where `name` is empty."""
    best = best_by_protocol(RunFolder(folder), name).values() if name else ()
    return {folder / "checkpoints" / f"{score.iteration:08d}.safetensors" for score in best}


def checkpoint_at(folder: RunFolder, at: str | None, keep_best: str = "") -> Path | None:
    """Return the checkpoint that is asked for, or None where there is none at all.

    Args:
        folder: The run's folder.
        at: An iteration; ``best:fid/fid`` for the best one stored by that score; ``best``, for that by the score of the run's
            ``keep_best``; None for the newest.
        keep_best: That score.

    Raises:
        GancoreError: It is none of these, or no such checkpoint is stored.
    """
    stored = {int(path.stem): path for path in checkpoints(folder.path)}
    if at is None or not stored:
        return next(reversed(stored.values()), None)
    word, _, name = at.partition(":")
    if word == _BEST:
        return stored[_best(folder, name or keep_best).iteration]
    if not (at.isascii() and at.isdigit() and len(at) <= _DIGITS):
        raise GancoreError(f"--at {at[:60]!r} is no checkpoint; write an iteration, or best:SCORE, e.g. best:fid/fid.")
    if int(at) not in stored:
        few = [*stored][-8:]
        more = f"{len(stored) - len(few)} earlier ones and " if len(stored) > len(few) else ""
        raise GancoreError(f"{folder.path} stores no checkpoint of iteration {int(at)}, only {more}{_of(few)}.")
    return stored[int(at)]


def _of(iterations: Collection[int]) -> str:
    return f"of {', '.join(map(str, iterations))}"


def _best(folder: RunFolder, name: str) -> Score:
    if not name:
        raise GancoreError(f"--at best needs a score, for {folder.path} keeps none by run.keep_best; write e.g. best:fid/fid.")
    scores = scores_of(folder, name)
    if not scores:
        known = _names(folder)
        raise GancoreError(
            f"{folder.path} has no value of the score {name!r} that tells what is better{did_you_mean(name, known)} "
            f"(it has: {listed(sorted(known))[:200] or 'none'})."
        )
    best = best_by_protocol(folder, name)
    if not best:
        raise GancoreError(
            f"of the iterations that {folder.path} has {name} of, no checkpoint is stored; set run.keep_best, or a larger "
            "run.keep_checkpoints, when you train."
        )
    # Where somebody has scored a run by other protocols too, the one that it was followed by is meant.
    numbers = {protocol: len({s.iteration for s in scores if s.protocol == protocol}) for protocol in best}
    return best[max(reversed(best), key=lambda protocol: numbers[protocol])]


def _names(folder: RunFolder) -> Collection[str]:
    return {name for entry in entries(folder.scores) for name in _table(entry, "better")}
