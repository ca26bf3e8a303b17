"""Comparison: the scores of several runs as one table, in which only what may be compared shares a column. Needs no torch."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from gancore import GancoreError
from gancore.tools import RunFolder, WallClock, did_you_mean, listed, toml, wall_clock, write_text
from gancore_report import tables
from gancore_report.reading import Entry, json_lines, score_entry
from gancore_report.scoring import differing, setting
from gancore_report.tables import ARROWS, MISSING, decimals, mean_and_deviation, spread

LAST = "last"
BEST = "best:"


@attrs.frozen
class Column:
    """Values that may be compared: of one score, made by one protocol.

    Attributes:
        name: ``metric/value``.
        made: How its values were made, as text.
        protocol: How its values were made; empty where that is not recorded.
        better: ``lower``, ``higher``, or empty.
    """

    name: str
    made: str
    protocol: Mapping[str, Any] = attrs.field(eq=False)
    better: str = attrs.field(eq=False)

    @property
    def metric(self) -> str:
        """The metric's label."""
        return self.name.split("/")[0]

    @property
    def id(self) -> str:
        """The protocol's id."""
        return str(self.protocol.get("id", "")) or "not recorded"


@attrs.frozen
class Compared:
    """One run, at the evaluation that is compared.

    Attributes:
        path: Its folder.
        label: Its name in the table, unlike any other run's.
        recipe: Its recipe.
        environment: What it was made with.
        spent: Where its time went.
        iteration: Iteration of the evaluation; None where the run has none to compare.
        values: Its scores; lists of numbers are left out.
    """

    path: Path
    label: str
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    spent: WallClock
    iteration: int | None
    values: Mapping[Column, float]

    @property
    def seed(self) -> Any:
        """The seed of its training."""
        return _run_table(self.recipe).get("seed", 0)

    @property
    def planned(self) -> Any:
        """How many iterations it was to be trained."""
        return _run_table(self.recipe).get("iterations")

    @property
    def training(self) -> str:
        """Everything that runs of one row have in common, as text: what was trained, and how, but for the seed."""
        table = {key: value for key, value in _run_table(self.recipe).items() if key != "seed"}
        return json.dumps([{**self.recipe, "run": table}, self.environment.get("precision")], sort_keys=True, default=str)


@attrs.frozen
class Row:
    """Runs that differ in nothing but their seed, or one run alone.

    Attributes:
        label: Its name in the table.
        runs: The runs, all compared at the same iteration.
    """

    label: str
    runs: tuple[Compared, ...]

    def found(self, column: Column) -> list[float]:
        """Return the values of the runs that have one."""
        return [run.values[column] for run in self.runs if column in run.values]


@attrs.frozen
class Comparison:
    """The scores of several runs.

    Attributes:
        at: Which evaluation of each run is compared, in words.
        rows: The rows, in the order in which their runs were named.
        columns: The columns; of one score as many as there are protocols.
        notes: What the reader must know, a sentence each.
        finished: Whether the evaluations are each run's last ones, so that it matters whether the training had ended.
    """

    at: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    finished: bool

    def text(self, widest: int | None = None) -> str:
        """Return the table for a terminal whose lines have so many characters; without a number, no line is broken."""
        first, left = self._left()
        cells = [self._cells(column) for column in self.columns]
        lines = [
            [*first, *(column.name + ARROWS.get(column.better, "") for column in self.columns)],
            ["protocol", *[""] * (len(first) - 1), *(column.id for column in self.columns)],
        ]
        for place, row in enumerate(left):
            lines.append([*row, *(column[place].text for column in cells)])
        caption = self._caption("*" if any(cell.best for column in cells for cell in column) else "")
        notes = [f"- {note}" for note in self.notes]
        caption, *notes = [_wrapped(text, widest) for text in (caption, *notes)]
        return "\n".join([caption, "", *tables.plain(lines, widest), *([""] if notes else []), *notes])

    def markdown(self) -> str:
        """Return the table in Markdown."""
        first, left = self._left()
        cells = [self._cells(column) for column in self.columns]
        header = [*first, *(f"{column.name}{ARROWS.get(column.better, '')} ({column.id})" for column in self.columns)]
        rows = [[*row, *(column[place].markdown for column in cells)] for place, row in enumerate(left)]
        caption = self._caption("bold" if any(cell.best for column in cells for cell in column) else "")
        caption += "; in brackets the protocol"
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([caption, "", *tables.markdown(header, rows), *([""] if notes else []), *notes]) + "\n"

    def json(self) -> dict[str, Any]:
        """Return every value by run, means and deviations, and how the values were made."""
        protocols: dict[str, dict[str, Any]] = {}
        for column in self.columns:
            if column.protocol:
                protocols.setdefault(column.metric, {})[column.id] = dict(column.protocol)
        return {
            "at": self.at,
            "rows": [self._row_as_json(row) for row in self.rows],
            "protocols": protocols,
            "notes": list(self.notes),
        }

    def _row_as_json(self, row: Row) -> dict[str, Any]:
        scores = []
        for column in self.columns:
            if values := row.found(column):
                mean, deviation = mean_and_deviation(values)
                found = {"score": column.name, "protocol": column.id, "better": column.better or None}
                scores.append({**found, "mean": mean, "deviation": deviation, "number": len(values)})
        runs = [
            {
                "folder": str(run.path),
                "recipe": run.environment.get("recipe_name"),
                "seed": run.seed,
                "iterations": run.planned,
                "training_seconds": run.spent.training,
                "evaluation_seconds": run.spent.evaluation,
                "values": [
                    {"score": column.name, "protocol": column.id, "value": run.values[column]}
                    for column in self.columns
                    if column in run.values
                ],
            }
            for run in row.runs
        ]
        return {"name": row.label, "iteration": row.runs[0].iteration, "scores": scores, "runs": runs}

    def _caption(self, best: str) -> str:
        parts = [f"Scores {self.at}"]
        if any(len(row.runs) > 1 for row in self.rows):
            parts.append("mean ± sample deviation over seeds")
        if best:
            parts.append(f"{best}: best of a column")
        return "; ".join(parts)

    def _left(self) -> tuple[list[str], list[list[str]]]:
        """Return header and cells of the columns before the scores."""
        grouped = any(len(row.runs) > 1 for row in self.rows)
        lines = []
        for row in self.rows:
            one = row.runs[0]
            iteration = MISSING if one.iteration is None else str(one.iteration)
            if self.finished and one.iteration is not None and isinstance(one.planned, int) and one.iteration < one.planned:
                iteration += f" of {one.planned}"
            lines.append([row.label, iteration, str(len(row.runs)) if grouped else str(one.seed)])
        return ["run", "iteration", "seeds" if grouped else "seed"], lines

    def _cells(self, column: Column) -> list[_Cell]:
        """Return the cell of each row; means stand below each other, whatever follows them."""
        found = [row.found(column) for row in self.rows]
        digits = decimals([mean_and_deviation(values)[0] for values in found if values])
        texts = [spread(values, digits) if values else "" for values in found]
        best = _best([text.split(" ")[0] for text in texts], column.better)
        cells = []
        for row, values, text, is_best in zip(self.rows, found, texts, best, strict=True):
            mean, gap, rest = text.partition(" ")
            if values and len(values) < len(row.runs):
                gap, rest = " ", f"{rest} ({len(values)} of {len(row.runs)})".strip()
            # A score that was made otherwise stands in another column, which is no lack of it.
            elsewhere = any(other.name == column.name and row.found(other) for other in self.columns)
            cells.append(_Cell(mean or ("" if elsewhere else MISSING), gap + rest, is_best))
        behind = max(len(cell.behind) for cell in cells)
        return [attrs.evolve(cell, room=behind) for cell in cells]


@attrs.frozen
class _Cell:
    """A cell: a mean, what follows it, whether it is the best of its column, and the room for what follows."""

    mean: str
    rest: str
    best: bool
    room: int = 0

    @property
    def behind(self) -> str:
        return self.rest + "*" * self.best

    @property
    def text(self) -> str:
        return self.mean + self.behind.ljust(self.room)

    @property
    def markdown(self) -> str:
        return f"**{self.mean}{self.rest}**" if self.best else self.mean + self.rest


def compare(paths: Sequence[Path], *, metrics: Sequence[str] = (), at: str = LAST, each: bool = False) -> Comparison:
    """Return the scores of runs side by side.

    Values of one score that were made by different protocols never share a column, and a note says in what the protocols
    differ. Runs that differ in nothing but their seed share a row; only values of one protocol and one iteration are averaged.
    A run that is named twice is shown once.

    Args:
        paths: Folders that `gancore train` wrote, at least one.
        metrics: Metrics to show, ``fid``, or single scores, ``fid/fid``; by default all.
        at: Which evaluation of each run: ``last``, an iteration, or ``best:SCORE`` for the one whose score was best.
        each: Give each run a row of its own.

    Raises:
        GancoreError: With one sentence: a folder holds no run, a recipe is damaged, no run has the score or the evaluation that
            is asked for, or the best value is asked for of a score that has none.
    """
    named = list({path.resolve(): path for path in paths}.values())
    if not named:
        raise GancoreError("a comparison needs at least one run; name a folder that `gancore train` wrote.")
    labels = _told_apart(named)
    notes = [f"{path} is named twice, and shown once." for path in named if _times(path, paths) > 1]
    read = [_read(path, label, notes) for path, label in zip(named, labels, strict=True)]
    if not any(run.evaluations for run in read):
        raise GancoreError(read[0].lack + _nor(read))
    kept = [_only(run, metrics, _names(read)) for run in read]
    chosen = [_chosen(run, at, _names(kept)) for run in kept]
    runs = [run for run, _ in chosen]
    if all(run.iteration is None for run in runs):
        raise GancoreError(chosen[0][1] + _nor(runs))
    notes += [note for _, note in chosen if note]
    rows = _rows(runs, notes, each=each)
    columns = _columns(runs)
    return Comparison(
        at=_in_words(at),
        rows=rows,
        columns=columns,
        notes=(*_splits(columns, runs), *notes),
        finished=at == LAST,
    )


def write(comparison: Comparison, out: Path) -> None:
    """Write a comparison as Markdown or, by the file's name, as JSON.

    Raises:
        GancoreError: The name ends otherwise, or the file can't be written.
    """
    if out.suffix not in (".md", ".json"):
        raise GancoreError(f"--out {out} ends neither in .md nor in .json; name a file of Markdown or of JSON.")
    text = comparison.markdown() if out.suffix == ".md" else json.dumps(comparison.json(), indent=2) + "\n"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, text)
    except OSError as error:
        raise GancoreError(f"{out} can't be written: {error.strerror}; choose another --out.") from error


@attrs.frozen
class _Read:
    """A run as its folder tells it.

    Attributes:
        run: The run, at no evaluation yet.
        evaluations: Iteration -> name -> column and value.
        lack: What is said where there are none.
    """

    run: Compared
    evaluations: Mapping[int, Mapping[str, tuple[Column, float]]]
    lack: str


def _read(path: Path, label: str, notes: list[str]) -> _Read:
    folder = RunFolder(path)
    if not folder.recipe.is_file() and any(path.glob("*/recipe.toml")):
        raise GancoreError(f"{path} holds no run itself, but folders that do; name them, e.g. as {path}/*.")
    folder = RunFolder.open(path)
    damaged: list[str] = []
    scores = [score_entry(line) for line in json_lines(folder.scores, damaged)] if folder.scores.exists() else []
    log = [score_entry(line) for line in json_lines(folder.log, [])]
    notes += [f"{label}: {note}" for note in damaged]
    recipe, environment = toml.read(folder.recipe), folder.describe()
    run = Compared(path, label, recipe, environment, wall_clock(log, scores), None, {})
    return _Read(run, _evaluations(scores, path), _without_scores(run))


def _evaluations(scores: Iterable[Entry], path: Path) -> dict[int, dict[str, tuple[Column, float]]]:
    """Return iteration -> name -> column and value; where a run was scored again, the newest value counts."""
    found: dict[int, dict[str, tuple[Column, float]]] = {}
    for entry in scores:
        for name, value in entry.values.items():
            if isinstance(value, float):
                protocol = entry.protocols.get(name.split("/")[0], {})
                # Nothing can be compared with a value of which it is not known how it was made.
                made = json.dumps(protocol, sort_keys=True) if protocol else str(path.resolve())
                column = Column(name, made, protocol, entry.better.get(name, ""))
                found.setdefault(entry.iteration, {})[name] = (column, value)
    return found


def _names(runs: Iterable[_Read]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for scores in run.evaluations.values() for name in scores))


def _only(run: _Read, metrics: Sequence[str], names: Sequence[str]) -> _Read:
    """Return a run with the scores that are asked for.

    Raises:
        GancoreError: No run has a score that is asked for.
    """
    labels = dict.fromkeys(name.split("/")[0] for name in names)
    for asked in metrics:
        if asked not in names and asked not in labels:
            near = did_you_mean(asked, [*names, *labels])
            raise GancoreError(f"none of the runs was scored by {asked!r}{near} (their scores: {listed(names)}).")
    if not metrics:
        return run
    kept = {
        iteration: {name: made for name, made in scores.items() if name in metrics or name.split("/")[0] in metrics}
        for iteration, scores in run.evaluations.items()
    }
    kept = {iteration: scores for iteration, scores in kept.items() if scores}
    lack = f"{run.run.label} was not scored by {listed(metrics)}." if run.evaluations else run.lack
    return attrs.evolve(run, evaluations=kept, lack=lack)


def _chosen(read: _Read, at: str, names: Sequence[str]) -> tuple[Compared, str]:
    """Return a run at the evaluation that is asked for, and a sentence where it has none."""
    run, evaluations = read.run, read.evaluations
    iteration: int | None
    if at == LAST:
        iteration, lack = max(evaluations, default=None), ""
    elif at.isdecimal():
        iteration = int(at) if int(at) in evaluations else None
        known = ", ".join(map(str, sorted(evaluations)))
        lack = f"{run.label} has no scores of iteration {at} (it has those of {known})."
    elif at.startswith(BEST):
        name = at.removeprefix(BEST)
        if name not in names:
            raise GancoreError(f"--at {at}: no run has the score {name!r}{did_you_mean(name, names)} ({listed(names)}).")
        iteration, lack = _best_iteration(read, name), f"{run.label} has no finite {name}."
    else:
        raise GancoreError(f"--at {at!r} is neither {LAST}, nor an iteration, nor {BEST}SCORE, e.g. {BEST}fid/fid.")
    if iteration is None:
        return run, lack if evaluations else read.lack
    return attrs.evolve(run, iteration=iteration, values=dict(evaluations[iteration].values())), ""


def _in_words(at: str) -> str:
    """Return which evaluation of each run is compared."""
    if at == LAST:
        return "of each run's last evaluation"
    if at.isdecimal():
        return f"of iteration {at}"
    return f"where each run's {at.removeprefix(BEST)} was best, so chosen by the score"


def _best_iteration(read: _Read, name: str) -> int | None:
    found = {n: scores[name] for n, scores in sorted(read.evaluations.items()) if name in scores}
    columns = {column: None for column, _ in found.values()}
    if len(columns) > 1:
        raise GancoreError(
            f"{read.run.path} scored {name} by different protocols ({listed(column.id for column in columns)}), so none of its "
            "values is the best; name an iteration by --at."
        )
    finite = {n: value for n, (_, value) in found.items() if math.isfinite(value)}
    if not finite:
        return None
    better = next(iter(columns)).better
    if better not in ARROWS:
        raise GancoreError(
            f"{name} has no best value: its metric does not say which of two is better; name an iteration by --at."
        )
    return (min if better == "lower" else max)(finite, key=lambda n: finite[n])


def _without_scores(run: Compared) -> str:
    """Return a sentence on a run that has no scores."""
    if run.recipe.get("metrics"):
        return f"{run.label} has no scores; score it by `gancore evaluate {run.path}`."
    example = "--set metrics.kl.use=class-histogram"
    return f"{run.label} has no scores, for its recipe names no metrics; train it with some, e.g. {example}."


def _rows(runs: Sequence[Compared], notes: list[str], *, each: bool) -> tuple[Row, ...]:
    """Return the rows, and note why runs of one recipe are not averaged."""
    groups: dict[object, list[Compared]] = {}
    for place, run in enumerate(runs):
        groups.setdefault(place if each else run.training, []).append(run)
    rows = []
    for same in groups.values():
        by_iteration: dict[int | None, list[Compared]] = {}
        for run in same:
            by_iteration.setdefault(run.iteration, []).append(run)
        reached = [iteration for iteration in by_iteration if iteration is not None]
        if len(reached) > 1:
            what = _and([run.label for run in same if run.iteration is not None])
            notes.append(f"{what} have the same recipe but are compared at different iterations, which are not averaged.")
        for part in by_iteration.values():
            seeds = [str(run.seed) for run in part]
            again = [run.label for run in part if seeds.count(str(run.seed)) > 1]
            if again:
                notes.append(
                    f"{_and(again)} have the same recipe and the same seed, so the runs of that recipe are not averaged."
                )
            if again or part[0].iteration is None:
                rows += [Row(run.label, (run,)) for run in part]
            else:
                rows.append(Row(_common([run.label for run in part]), tuple(part)))
    order = {run.path: place for place, run in enumerate(runs)}
    return tuple(sorted(rows, key=lambda row: order[row.runs[0].path]))


def _columns(runs: Sequence[Compared]) -> tuple[Column, ...]:
    """Return all columns; those of one score side by side."""
    found = dict.fromkeys(column for run in runs for column in run.values)
    order = {name: place for place, name in enumerate(dict.fromkeys(column.name for column in found))}
    return tuple(sorted(found, key=lambda column: order[column.name]))


def _splits(columns: Sequence[Column], runs: Sequence[Compared]) -> list[str]:
    """Return a sentence on each metric whose values stand in several columns, and why."""
    notes = []
    for metric in dict.fromkeys(column.metric for column in columns):
        made = {column.made: column for column in columns if column.metric == metric}
        known = [column for column in made.values() if column.protocol]
        if len(known) > 1:
            protocols = [column.protocol for column in known]
            unlike = [
                f"{key} ({', '.join(setting(protocol, key) for protocol in protocols)})"
                for key in differing(protocols)
                if key != "id"
            ]
            notes.append(
                f"{metric}: the protocols {_and([column.id for column in known])} differ in {', '.join(unlike) or 'their id'}, "
                "so their values stand in columns of their own and can't be compared with each other."
            )
        for column in made.values():
            if not column.protocol:
                (label,) = [run.label for run in runs if any(other.made == column.made for other in run.values)]
                notes.append(f"{metric}: how the values of {label} were made is not recorded, so nothing compares with them.")
    return notes


def _best(means: Sequence[str], better: str) -> list[bool]:
    """Return whether each mean, as it is written, is the best; of fewer than two, or of equal ones, none is."""
    values = [float(mean) if mean else math.nan for mean in means]
    finite = [value for value in values if math.isfinite(value)]
    if better not in ARROWS or len(set(finite)) < 2:
        return [False] * len(means)
    wanted = min(finite) if better == "lower" else max(finite)
    return [value == wanted for value in values]


def _told_apart(paths: Sequence[Path]) -> list[str]:
    """Return the name of each folder, with as many of those above it as it takes to tell it from the others."""
    parts = [path.resolve().parts for path in paths]
    labels = []
    for own in parts:
        length = 1
        while length < len(own) and sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        labels.append("/".join(own[-length:]))
    return labels


def _common(labels: Sequence[str]) -> str:
    """Return one name for several runs: ``whole-{0,1,2}``."""
    if len(labels) == 1:
        return labels[0]
    start = 0
    for place, letters in enumerate(zip(*labels, strict=False)):
        if len(set(letters)) > 1:
            break
        if not letters[0].isalnum():
            start = place + 1
    rest = [label[start:] for label in labels]
    shown = rest if len(rest) <= 4 else [rest[0], "…", rest[-1]]
    return f"{labels[0][:start]}{{{','.join(shown)}}}" if start else ", ".join(shown)


def _wrapped(text: str, widest: int | None) -> str:
    if widest is None:
        return text
    # A command or a path that is broken could not be copied.
    return textwrap.fill(text, max(20, widest), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _nor(runs: Sequence[object]) -> str:
    return " Nor has any other of the runs." if len(runs) > 1 else ""


def _and(words: Sequence[str]) -> str:
    return " and ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), words[-1]])


def _times(path: Path, paths: Sequence[Path]) -> int:
    return sum(other.resolve() == path.resolve() for other in paths)


def _run_table(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    found = recipe.get("run")
    return found if isinstance(found, dict) else {}
