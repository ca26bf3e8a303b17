"""Tables of scores for a terminal, in Markdown and in CSV. Needs no torch."""

from __future__ import annotations

import csv
import html
import io
import re
import textwrap
from collections.abc import Sequence

from gancore_report.scores import ScoreTable

_GAP = "  "


def as_text(table: ScoreTable, widest: int | None = None) -> str:
    """Return a table for a terminal whose lines have so many characters; without a number, no line is broken."""
    header, rows = table.leading()
    below = ["protocol", *[""] * (len(header) - 1)]
    for column in table.columns:
        cells = table.cells(column)
        behind = [cell.rest + "*" * cell.best for cell in cells]
        # Means stand below each other, whatever follows them.
        room = max(map(len, behind))
        header.append(column.title)
        below.append(column.id)
        for row, cell, rest in zip(rows, cells, behind, strict=True):
            row.append(cell.mean + rest.ljust(room))
    notes = [wrapped(f"- {note}", widest) for note in table.notes]
    caption = wrapped(table.caption("best of a column: *"), widest)
    return "\n".join([caption, "", *plain([header, below, *rows], widest), *([""] if notes else []), *notes])


def as_markdown(table: ScoreTable) -> str:
    """Return a table in Markdown."""
    header, rows = table.leading()
    for column in table.columns:
        header.append(f"{column.title} ({column.id})")
        for row, cell in zip(rows, table.cells(column), strict=True):
            row.append(f"**{cell.mean}{cell.rest}**" if cell.best else cell.mean + cell.rest)
    caption = unmarked(table.caption("best of a column in bold") + "; in brackets the protocol")
    notes = [f"- {unmarked(note)}" for note in table.notes]
    return "\n".join([caption, "", *markdown(header, rows), *([""] if notes else []), *notes]) + "\n"


def as_csv(table: ScoreTable) -> str:
    """Return the values of a table as CSV, a line per run; a score's protocol stands in brackets behind its name."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = table.columns
    writer.writerow([_inert(cell) for cell in ("run", "seed", "iteration", *(f"{one.name} ({one.id})" for one in columns))])
    for run in (run for row in table.rows for run in row.runs):
        leading = [_inert(run.label), *("" if cell is None else cell for cell in (run.run.seed, run.iteration))]
        writer.writerow([*leading, *(run.values.get(column, "") for column in columns)])
    return text.getvalue()


def _inert(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def plain(lines: Sequence[Sequence[str]], widest: int | None = None) -> list[str]:
    """Return the lines of a table for a terminal: the first column to the left, all others to the right.

    Args:
        lines: The cells of each line, header included; all lines have as many.
        widest: Characters of a line. A wider table is broken between columns, and the first column stands again before the
            rest. None breaks nothing.
    """
    lines = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    blocks: list[list[int]] = [[]]
    for place, width in enumerate(widths[1:], 1):
        taken = widths[0] + sum(len(_GAP) + widths[other] for other in blocks[-1])
        if widest is not None and blocks[-1] and taken + len(_GAP) + width > widest:
            blocks.append([])
        blocks[-1].append(place)
    printed: list[str] = []
    for block in blocks:
        printed += [""] * bool(printed)
        for line in lines:
            cells = [line[0].ljust(widths[0]), *(line[place].rjust(widths[place]) for place in block)]
            printed.append(_GAP.join(cells).rstrip())
    return printed


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], *, words: bool = False) -> list[str]:
    """Return the lines of a table in Markdown, of numbers behind the first column, or of words."""
    rule = ["---", *["---" if words else "---:"] * (len(header) - 1)]
    return ["| " + " | ".join(unmarked(cell).strip() for cell in line) + " |" for line in (header, rule, *rows)]


def printable(text: str) -> str:
    """Return a text without what a terminal would obey instead of showing it; a run's files may hold anything."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def unmarked(text: str) -> str:
    """Return a text that Markdown shows as it is: no tags, links, pictures or further cells. Stars stay, for what is bold."""
    return re.sub(r"([\\`|~\[\]])", r"\\\1", html.escape(printable(text), quote=False))


def wrapped(text: str, widest: int | None) -> str:
    """Return a text for a terminal in lines of so many characters; without a number in one."""
    text = printable(text)
    if widest is None:
        return text
    # A command or a path that is broken could not be copied.
    return textwrap.fill(text, max(20, widest), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
