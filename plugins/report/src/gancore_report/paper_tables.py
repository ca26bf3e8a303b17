"""Papers' tables: which recipes are the rows, which scores the columns, and what the paper prints. Needs no torch.

A plugin's tables lie in the folder ``tables`` beside that of its recipes, one file each; ``cbgan/table1`` is ``table1.toml``::

    title = "CIFAR-10 and LSUN under imbalance"
    source = "Table 1"
    cite = "OpenReview:yEnaS6yOkxy"
    protocol = "FID, KL and accuracy of 50,000 samples"    # the paper's, in words

    [columns.KL]
    score = "classes/kl"              # of which the cell shows factor * value + offset
    factor = 1.0
    offset = 0.0
    at = "last"                       # evaluation, or "best": the best of all that a run has
    entry = 0                         # of a score that is a list, e.g. a class of classes/histogram

    [small]                           # a size: `small` for two cores, `paper` as the paper trains
    protocol = "digits of 8 px"
    seeds = 3
    with = ["cbgan/digits-lt-cas"]    # laid over each recipe, and `set` likewise
    scores = { FID = "other/fid" }    # of columns whose score has another name at this size
    [[paper.final]]                   # scores of a run that has ended
    at = "best:fid/fid"
    set = ["evaluation.samples=50000", "metrics.final.use=standard/fid"]
    metrics = ["final"]
    optional = true                   # where it may lack files, the table says so

    [[rows]]
    panel = "CIFAR-10, ratio 100"
    name = "SNDCGAN"
    printed = { KL = 0.31, FID = [36.97, 0.20] }           # and its deviation, if printed
    small = "cbgan/digits-lt-baseline"                     # or { recipe = ..., with = [...], set = [...] },
    paper = { recipe = "cbgan/cifar10-100-sndcgan", final = { final = ["data.flip=false"] } }    # and what its scores change
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from gancore import GancoreError
from gancore.tools import Registry, did_you_mean, listed, shown, toml

Size = Literal["small", "paper"]

SIZES: tuple[Size, ...] = ("small", "paper")


@attrs.frozen
class Quantity:
    """A column: what the cells show of a score, ``factor * value + offset``.

    Attributes:
        title: The column's name.
        score: ``metric/value``.
        factor: Times which the score is shown.
        offset: Added to that.
        at: Which evaluation of a run counts.
        entry: Place in a score that is a list of numbers, e.g. a class of a histogram; -1 for one that is a number.
    """

    title: str
    score: str
    factor: float = 1.0
    offset: float = 0.0
    at: Literal["last", "best"] = "last"
    entry: int = -1


@attrs.frozen
class Final:
    """An evaluation of runs that have ended.

    Attributes:
        assignments: ``KEY=VALUE`` texts that change the recipe for it.
        metrics: Labels of the metrics that it computes.
        at: Of which checkpoint, as `gancore evaluate --at` has it; empty for the newest.
        optional: Whether the table is printed without it where it can't be computed.
    """

    assignments: tuple[str, ...]
    metrics: tuple[str, ...]
    at: str = ""
    optional: bool = False


@attrs.frozen
class Layered:
    """A recipe, and what is laid over it.

    Attributes:
        recipe: Its name.
        overlays: Names of the recipes over it.
        assignments: ``KEY=VALUE`` texts.
        final: Metric of an evaluation of runs that have ended -> more of these for it.
    """

    recipe: str
    overlays: tuple[str, ...] = ()
    assignments: tuple[str, ...] = ()
    final: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)

    def plugins(self) -> set[str]:
        """Return the names of the plugins whose recipes it names; a file is of none."""
        return {name.partition("/")[0] for name in (self.recipe, *self.overlays) if not name.endswith(".toml")}


@attrs.frozen
class PaperRow:
    """A row of a paper's table.

    Attributes:
        name: The method.
        panel: Part of the table that it stands in; may be empty.
        printed: Column -> the paper's value and its deviation, where it prints them.
        trained: What makes ours at the table's size; None where nothing does.
    """

    name: str
    panel: str
    printed: Mapping[str, tuple[float, float | None]]
    trained: Layered | None

    @property
    def label(self) -> str:
        """The row's name among all of the table's."""
        return f"{self.panel}: {self.name}" if self.panel else self.name


@attrs.frozen
class PaperTable:
    """A paper's table at one size.

    Attributes:
        name: ``plugin/table``.
        size: ``small`` or ``paper``.
        title: What it shows.
        source: Where it stands in the paper.
        cite: The paper.
        printed_protocol: How the paper's values were made, in words.
        protocol: How ours are made, in words.
        seeds: How many runs of each row are meant.
        columns: The columns.
        rows: The rows, in the paper's order.
        finals: Evaluations after the trainings.
    """

    name: str
    size: Size
    title: str
    source: str
    cite: str
    printed_protocol: str
    protocol: str
    seeds: int
    columns: tuple[Quantity, ...]
    rows: tuple[PaperRow, ...]
    finals: tuple[Final, ...]


def table_files(registry: Registry) -> dict[str, Path]:
    """Return the installed tables, ``plugin/table`` -> file."""
    folders = {(name.partition("/")[0], path.parent.with_name("tables")) for name, path in registry.recipes().items()}
    files = [(f"{plugin}/{file.stem}", file) for plugin, folder in folders for file in folder.glob("*.toml")]
    return dict(sorted(files))


def titles(files: Mapping[str, Path]) -> dict[str, tuple[str, str]]:
    """Return of each table where it stands and its sizes, and its title; of one that can't be read, why."""
    shown = {}
    for name, path in files.items():
        try:
            content = toml.read(path)
            where = ", ".join([str(content["source"]), *(size for size in SIZES if size in content)])
            shown[name] = where, str(content["title"])
        except (GancoreError, KeyError) as error:
            shown[name] = "damaged", str(error)
    return shown


def read_table(name: str, size: Size, registry: Registry) -> PaperTable:
    """Return an installed table at a size.

    Raises:
        GancoreError: There is none of this name, it has no such size, or it is damaged.
    """
    files = table_files(registry)
    if name not in files:
        raise GancoreError(f"there is no table {name!r}{did_you_mean(name, files)} (there are: {listed(files) or 'none'}).")
    return _Reader(files[name]).table(name, size)


class _Reader:
    """Reads a table's file, and says where in it something is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def table(self, name: str, size: Size) -> PaperTable:
        content = toml.read(self.path)
        self._known(content, {"title", "source", "cite", "protocol", "columns", "rows", *SIZES}, "it")
        if size not in content:
            raise GancoreError(f"{name} has no size {size!r} (it has: {listed(s for s in SIZES if s in content) or 'none'}).")
        scale = self._table(content[size], size)
        self._known(scale, {"protocol", "seeds", "with", "set", "scores", "final"}, size)
        columns = tuple(self._columns(content, scale))
        rows = tuple(self._row(row, f"rows.{place}", size, scale, columns) for place, row in enumerate(content.get("rows", ())))
        if not rows or not columns or len({row.label for row in rows}) < len(rows):
            raise self._wrong("it needs columns, and rows that have a name each, none twice in a panel")
        return PaperTable(
            name=name,
            size=size,
            title=self._text(content, "title", "it"),
            source=self._text(content, "source", "it"),
            cite=self._text(content, "cite", "it"),
            printed_protocol=self._text(content, "protocol", "it"),
            protocol=self._text(scale, "protocol", size),
            seeds=self._of(scale, "seeds", int, 3, size),
            columns=columns,
            rows=rows,
            finals=tuple(self._final(one, f"{size}.final") for one in scale.get("final", ())),
        )

    def _columns(self, content: Mapping[str, Any], scale: Mapping[str, Any]) -> Iterator[Quantity]:
        other = self._table(scale.get("scores", {}), "scores")
        columns = self._table(content.get("columns", {}), "columns")
        self._known(other, set(columns), "scores")
        for title, column in columns.items():
            where = f"columns.{title}"
            self._known(self._table(column, where), {"score", "factor", "offset", "at", "entry"}, where)
            at = self._of(column, "at", str, "last", where)
            if at not in ("last", "best"):
                raise self._wrong(f"{where}.at is 'last' or 'best', not {shown(at)}")
            numbers = {key: float(self._of(column, key, (int, float), default, where)) for key, default in _NUMBERS.items()}
            score = self._text(other, title, "scores") if title in other else self._text(column, "score", where)
            yield Quantity(title, score, at=at, entry=self._of(column, "entry", int, -1, where), **numbers)

    def _row(self, row: Any, where: str, size: Size, scale: Mapping[str, Any], columns: tuple[Quantity, ...]) -> PaperRow:
        self._known(self._table(row, where), {"name", "panel", "printed", *SIZES}, where)
        printed = self._table(row.get("printed", {}), f"{where}.printed")
        self._known(printed, {column.title for column in columns}, f"{where}.printed")
        return PaperRow(
            self._text(row, "name", where),
            self._of(row, "panel", str, "", where),
            {title: self._figure(value, f"{where}.printed.{title}") for title, value in printed.items()},
            self._layered(row[size], f"{where}.{size}", scale) if size in row else None,
        )

    def _figure(self, value: Any, where: str) -> tuple[float, float | None]:
        numbers = value if isinstance(value, list) else [value]
        if not all(isinstance(n, int | float) for n in numbers) or len(numbers) not in (1, 2):
            raise self._wrong(f"{where} is a number, or a number and its deviation, not {shown(value)}")
        return float(numbers[0]), float(numbers[1]) if len(numbers) == 2 else None

    def _layered(self, value: Any, where: str, scale: Mapping[str, Any]) -> Layered:
        table = {"recipe": value} if isinstance(value, str) else self._table(value, where)
        self._known(table, {"recipe", "with", "set", "final"}, where)
        # What all rows share comes first, so that a row has the last word.
        with_, set_ = ((*self._texts(scale, key, where), *self._texts(table, key, where)) for key in ("with", "set"))
        final = self._table(table.get("final", {}), f"{where}.final")
        more = {metric: self._texts(final, metric, f"{where}.final") for metric in final}
        return Layered(self._text(table, "recipe", where), with_, set_, more)

    def _final(self, value: Any, where: str) -> Final:
        self._known(self._table(value, where), {"at", "set", "metrics", "optional"}, where)
        metrics = self._texts(value, "metrics", where)
        if not metrics:
            raise self._wrong(f"{where} names no metrics")
        at, optional = self._of(value, "at", str, "", where), self._of(value, "optional", bool, False, where)
        return Final(self._texts(value, "set", where), metrics, at, optional)

    # -- values --------------------------------------------------------------------------------------------------------

    def _wrong(self, what: str) -> GancoreError:
        return GancoreError(f"{self.path} is no table of a paper: {what}; correct it, or install its plugin anew.")

    def _known(self, table: Mapping[str, Any], keys: set[str], where: str) -> None:
        for key in table:
            if key not in keys:
                raise self._wrong(f"{where} has no {key!r}{did_you_mean(key, sorted(keys))} (it has: {listed(sorted(keys))})")

    def _table(self, value: Any, where: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self._wrong(f"{where} is a table, not {shown(value)}")
        return value

    def _of(self, table: Mapping[str, Any], key: str, kind: Any, default: Any, where: str) -> Any:
        value = table.get(key, default)
        if not isinstance(value, kind):
            raise self._wrong(f"{where}.{key} is {shown(value)}")
        return value

    def _text(self, table: Mapping[str, Any], key: str, where: str) -> str:
        text: str = self._of(table, key, str, None, where)
        return text

    def _texts(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        values = self._of(table, key, list, [], where)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(f"{where}.{key} is a list of texts, not {shown(values)}")
        return tuple(values)


_NUMBERS: Mapping[str, float] = {"factor": 1.0, "offset": 0.0}
