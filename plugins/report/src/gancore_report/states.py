"""How far the runs of a table are: done, running somewhere, failed, or waiting. What failed is on record beside its folder."""

from __future__ import annotations

import json
import platform
import time
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from gancore_training import InUse, checkpoint, entries, holder

from gancore import GancoreError
from gancore.tools import digest, first_line, plain, toml, write_text

if TYPE_CHECKING:
    from gancore_report.trials import Trial

LONGEST = 1000
"""Characters of a failure that are shown."""


@attrs.frozen
class State:
    """How far a run is.

    Attributes:
        trial: The run.
        status: ``done``, ``running``, ``failed``, or ``waiting``.
        detail: How far and where it runs, what it failed by, where it was stopped; empty where there is nothing to say.
    """

    trial: Trial
    status: str
    detail: str = ""

    def __str__(self) -> str:
        """What is shown of it in a line."""
        return f"{self.status}: {self.trial.variant}, seed {self.trial.seed}{f': {self.detail}' if self.detail else ''}"


class Unfinished(GancoreError):  # noqa: N818 - it says what is the case
    """Some runs of a table are neither done nor failed.

    Attributes:
        states: Of all runs.
        partial: What can be shown so far: an attrs instance or None.
    """

    states: Sequence[State] = ()
    partial: Any = None


def state_of(trial: Trial, done: bool) -> State:
    """Return how far a run is; `done` says whether it is trained, scored and exported."""
    path, total = trial.folder.path, trial.recipe.run.iterations
    if done:
        return State(trial, "done")
    reached = max([_logged(trial), *(int(saved.stem) for saved in checkpoint.checkpoints(path)[-1:])])
    if who := holder(path):
        return State(trial, "running", f"iteration {reached} of {total}, {who}")
    if why := failure(trial):
        return State(trial, "failed", why)
    return State(trial, "waiting", f"stopped at iteration {reached} of {total}" if reached else "")


def summary(states: Sequence[State]) -> list[str]:
    """Return lines on runs that are not all done: how many are what, and what there is to say of each."""
    counts = [(status, sum(each.status == status for each in states)) for status in ("done", "running", "failed", "waiting")]
    head = f"{len(states)} runs: {', '.join(f'{number} {status}' for status, number in counts if number)}."
    return [head, *(f"  {each}" for each in states if each.detail)]


def refuse_unfinished(states: Sequence[State], partial: Any = None) -> None:
    """Raise `Unfinished` where some runs are neither done nor failed."""
    running = [each for each in states if each.status == "running"]
    waiting = sum(each.status == "waiting" for each in states)
    if not running and not waiting:
        return
    if running:
        where = f"{running[-1].trial.folder.path} is in use by {running[-1].detail.partition(', ')[2]}"
        text = f"another process still trains {len(running)} of the runs; ask again when it is done. The last: {where}."
    else:
        text = f"{waiting} of {len(states)} runs are not done yet; ask again."
    error = Unfinished(text)
    error.states, error.partial = states, partial
    raise error


def refuse_none_done(states: Sequence[State]) -> None:
    """Raise the first failure where no run is done."""
    failed = [each for each in states if each.status == "failed"]
    if len(failed) == len(states):
        more = f" All {len(failed)} runs failed; --retry trains them again." if len(failed) > 1 else ""
        raise GancoreError(f"{failed[0].detail}{more}")


def failed_notes(states: Iterable[State]) -> tuple[str, ...]:
    """Return a sentence on each run that failed, for below a table."""
    return tuple(f"{each}" for each in states if each.status == "failed")


def record_failure(trial: Trial, error: BaseException) -> str:
    """Keep what a run failed by, so that no other process tries the same again, and return the sentence.

    Raises:
        InUse: It is no failure: another process has the run.
    """
    if isinstance(error, InUse):
        raise error
    text = str(error) if isinstance(error, GancoreError) else f"{type(error).__name__}: {first_line(error)}"
    named = text if trial.recipe.name in text else f"{trial.recipe.name}: {text}"
    entry = {
        "failed": named[:LONGEST],
        "begun": trial.folder.begun(),
        "recipe": _digest(trial),
        "host": platform.node(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "traceback": "" if isinstance(error, GancoreError) else "".join(traceback.format_exception(error)),
    }
    write_text(_record(trial), json.dumps(entry, indent=2) + "\n")
    return named[:LONGEST]


def failure(trial: Trial) -> str:
    """Return what a run, by the recipe as it is now, has failed by; empty where it has not."""
    return str(_read(trial).get("failed", ""))


def began_and_failed(trial: Trial) -> bool:
    """Return whether a run that failed had begun, so that it was not refused before its first step."""
    return bool(_read(trial).get("begun"))


def forget_failure(trial: Trial) -> None:
    """Have a run that failed be tried again."""
    _record(trial).unlink(missing_ok=True)


def _record(trial: Trial) -> Path:
    path = trial.folder.path
    return path.with_name(f"{path.name}.failed.json")


def _read(trial: Trial) -> dict[str, Any]:
    try:
        entry = json.loads(_record(trial).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(entry, dict) or entry.get("recipe") != _digest(trial):
        return {}
    return {**entry, "failed": plain(str(entry.get("failed", "")))[:LONGEST]}


def _logged(trial: Trial) -> int:
    return max((entry["iteration"] for entry in entries(trial.folder.log)[-1:]), default=0)


def _digest(trial: Trial) -> str:
    return digest([toml.dumps(trial.recipe.table).encode()])
