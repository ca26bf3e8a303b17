"""Reading a run's folder, whatever state it is in: what can't be read becomes a note, never an exception."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from gancore_training import RunFolder

from gancore import GancoreError
from gancore.tools import toml

Value = float | tuple[float, ...]
"""A number, or a list of numbers."""


@attrs.frozen
class Entry:
    """A line of the log or of the scores.

    Attributes:
        iteration: Iterations done.
        seconds: Of training until then (log), or that the scoring took (scores); None where it is not known.
        rate: Images per second since the line before (log only).
        losses: ``player/term`` -> value (log only).
        values: Monitors by ``term/name`` (log), or scores by ``metric/name``.
        protocols: Metric label -> how its values were made (scores only).
        better: ``metric/name`` -> ``lower`` or ``higher`` (scores only).
    """

    iteration: int
    seconds: float | None = None
    rate: float | None = None
    losses: Mapping[str, float] = attrs.field(factory=dict)
    values: Mapping[str, Value] = attrs.field(factory=dict)
    protocols: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    better: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Attacked:
    """A line of the attacks.

    Attributes:
        iteration: Iterations done.
        natural: Accuracy without an attack.
        accuracy: Epsilon and accuracy under the attack, by epsilon.
        lipschitz: Local Lipschitz value, where it was measured.
        protocol: How the values were made.
    """

    iteration: int
    natural: float
    accuracy: Sequence[tuple[float, float]]
    lipschitz: float | None
    protocol: Mapping[str, Any]


@attrs.frozen
class RunData:
    """What a run's folder tells.

    Attributes:
        path: The folder.
        recipe: The recipe's tables; empty where it can't be read.
        recipe_text: The recipe as it is written.
        environment: What the run was made with.
        log: Lines of the log, one per iteration at most, in order.
        scores: Scores, in order; several of one iteration where it was scored again.
        attacks: Robust accuracies, in the order in which they were measured.
        samples: Iteration and file of every sample grid, in order.
        notes: File -> what is missing or damaged, a sentence.
    """

    path: Path
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any]
    log: list[Entry]
    scores: list[Entry]
    attacks: list[Attacked]
    samples: list[tuple[int, Path]]
    notes: dict[str, str]

    @property
    def name(self) -> str:
        """The recipe's name, or the folder's where it is not known."""
        name = self.environment.get("recipe_name")
        return name if isinstance(name, str) and name else self.path.resolve().name

    @property
    def seed(self) -> Any:
        """The seed of its training; a recipe that sets none has the default's."""
        return 0 if (seed := self.setting("run", "seed")) is None else seed

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class, where they are known."""
        names = self.environment.get("class_names")
        return tuple(map(str, names)) if isinstance(names, list) else ()

    @property
    def class_counts(self) -> tuple[float, ...]:
        """Training images per class, where they are known."""
        counts = numbers(self.environment.get("class_counts"))
        return counts if isinstance(counts, tuple) else ()

    @property
    def iterations(self) -> int:
        """Iterations done, as far as the folder tells."""
        seen = [entry.iteration for entry in (*self.log[-1:], *self.scores[-1:])] + [n for n, _ in self.samples[-1:]]
        return max(seen, default=0)

    @property
    def damaged_scores(self) -> str:
        """What is damaged in the file of its scores, a sentence; empty where it is sound, or there is none."""
        scores = RunFolder(self.path).scores
        return self.notes.get(scores.name, "") if scores.exists() else ""

    def setting(self, table: str, key: str) -> Any:
        """Return ``key`` of ``[table]`` in the recipe, or None."""
        return _mapping(self.recipe.get(table)).get(key)


def read_run(path: Path) -> RunData:
    """Read a run's folder.

    Raises:
        GancoreError: It holds nothing that a run leaves, or a link in the place of one of its files.
    """
    folder = RunFolder(path)
    folder.refuse_links()
    if not any(file.exists() for file in (folder.recipe, folder.environment, folder.log, folder.scores, folder.samples)):
        raise GancoreError(f"{path} holds no run; name a folder that `gancore train` wrote.")
    notes: dict[str, str] = {}
    text = _text(folder.recipe, notes)
    recipe: dict[str, Any] = {}
    try:
        # As a training reads it: what no recipe may hold, a date say, nothing here is made for.
        recipe = toml.read(folder.recipe) if text else {}
    except GancoreError as error:
        notes[folder.recipe.name] = f"{error} So settings are not shown."
    log = {line["iteration"]: _log_entry(line) for line in _json_lines(folder.log, notes)}
    scores = map(_score_entry, _json_lines(folder.scores, notes))
    attacks = map(_attacked, _json_lines(folder.attacks, notes)) if folder.attacks.exists() else ()
    samples = [(int(path.stem), path) for path in folder.samples.glob("*.png") if re.fullmatch("[0-9]{1,15}", path.stem)]
    if not samples:
        notes[folder.samples.name] = "samples holds no picture." if folder.samples.is_dir() else "samples is missing."
    return RunData(
        path=path,
        recipe=recipe,
        recipe_text=text,
        environment=_environment(folder, notes),
        log=sorted(log.values(), key=lambda entry: entry.iteration),
        scores=sorted(scores, key=lambda entry: entry.iteration),
        attacks=[attacked for attacked in attacks if attacked is not None],
        samples=sorted(samples),
        notes=notes,
    )


def number(value: Any) -> float | None:
    """Return a number as a float, those below 1e-150 as 0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    # An axis divides by differences of values, which must not underflow.
    return 0.0 if abs(converted) < 1e-150 else converted


def numbers(value: Any) -> Value | None:
    """Return a number, or a list of at least one number as a tuple, or None for anything else."""
    if not isinstance(value, list):
        return number(value)
    converted = [number(item) for item in value]
    clean = tuple(item for item in converted if item is not None)
    return clean if clean and len(clean) == len(converted) else None


def _text(path: Path, notes: dict[str, str]) -> str:
    try:
        if path.exists() and not path.is_file():  # what waits for a writer, or has no end
            notes[path.name] = f"{path.name} is no file and was passed over."
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"can't be read ({error.strerror})"
        notes[path.name] = f"{path.name} {reason}."
        return ""


def _environment(folder: RunFolder, notes: dict[str, str]) -> dict[str, Any]:
    text = _text(folder.environment, notes)
    try:
        table = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        notes[folder.environment.name] = f"{folder.environment.name} is damaged and was passed over."
        return {}
    return table


def _json_lines(path: Path, notes: dict[str, str]) -> list[dict[str, Any]]:
    """Return the objects with an iteration in a file of JSON lines; what is missing or damaged becomes a note."""
    lines = [line for line in _text(path, notes).splitlines() if line.strip()]
    entries, damaged = [], []
    for place, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if isinstance(entry, dict) and _is_iteration(entry.get("iteration")):
            entries.append(entry)
        else:
            damaged.append(place)
    if damaged == [len(lines)]:
        notes[path.name] = f"The last line of {path.name} is cut off and was passed over."
    elif damaged:
        notes[path.name] = f"{len(damaged)} of {len(lines)} lines of {path.name} are damaged and were passed over."
    return entries


def _is_iteration(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _log_entry(line: dict[str, Any]) -> Entry:
    losses = {name: value for name, value in _values(line.get("losses")).items() if isinstance(value, float)}
    rate = number(line.get("images_per_second"))
    return Entry(line["iteration"], number(line.get("seconds")), rate, losses, _values(line.get("monitors")))


def _score_entry(line: dict[str, Any]) -> Entry:
    """Return what a line of the scores says, without what is damaged."""
    return Entry(
        iteration=line["iteration"],
        seconds=number(line.get("seconds")),
        values=_values(line.get("scores")),
        protocols={k: v for k, v in _mapping(line.get("protocols")).items() if isinstance(v, dict)},
        better={k: v for k, v in _mapping(line.get("better")).items() if isinstance(v, str)},
    )


def _attacked(line: dict[str, Any]) -> Attacked | None:
    """Return what a line of the attacks says, or None where it says nothing that can be shown."""
    natural, points = _share(line.get("natural")), []
    for text, value in _mapping(line.get("accuracy")).items():
        accuracy = _share(value)
        with contextlib.suppress(ValueError):
            epsilon = number(float(text))
            if epsilon is not None and accuracy is not None and 0 <= epsilon <= 2:
                points.append((epsilon, accuracy))
    if natural is None or not points:
        return None
    return Attacked(line["iteration"], natural, sorted(points), number(line.get("lipschitz")), _mapping(line.get("protocol")))


def _share(value: Any) -> float | None:
    converted = number(value)
    return converted if converted is not None and 0 <= converted <= 1 else None


def _values(table: Any) -> dict[str, Value]:
    checked = {name: numbers(value) for name, value in _mapping(table).items()}
    return {name: value for name, value in checked.items() if value is not None}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
