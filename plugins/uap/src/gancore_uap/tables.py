"""Tables of fooling rates and accuracies, for terminals and in Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

import gancore
from gancore_uap.scoring import Matrix


def fooling_rates(matrix: Matrix) -> tuple[list[str], list[str], list[list[float]]]:
    """Return the perturbations, the victims, and the fooling rates, one row for each perturbation.

    Raises:
        GancoreError: There is no perturbation or no victim, or the victims differ between perturbations.
    """
    rows = list(matrix)
    columns = list(matrix[rows[0]]) if rows else []
    if not columns:
        raise gancore.GancoreError("a table of fooling rates needs at least one perturbation and one victim; name some.")
    for row in rows:
        if set(matrix[row]) != set(columns):
            raise gancore.GancoreError(
                f"a table of fooling rates needs the same victims for all perturbations, and those of {row!r} are not those of "
                f"{rows[0]!r}; score every pair."
            )
    return rows, columns, [[matrix[row][column].fooling_rate for column in columns] for row in rows]


def markdown(matrix: Matrix) -> str:
    """Return the fooling rates in % as a Markdown table, with the mean over the victims in the last column.

    Args:
        matrix: What `transfer_matrix` gave.

    Raises:
        GancoreError: There is no perturbation or no victim, or the victims differ between perturbations.
    """
    head, *rows = [[_unmarked(cell) for cell in row] for row in _cells(matrix)]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, rule, *rows])


def text_table(matrix: Matrix) -> str:
    """Return the fooling rates in % as a table of text for terminals, with the mean over the victims in the last column.

    Args:
        matrix: What `transfer_matrix` gave.

    Raises:
        GancoreError: There is no perturbation or no victim, or the victims differ between perturbations.
    """
    return _text(_cells(matrix))


def accuracy_table(matrix: Matrix) -> str:
    """Return the accuracies in % as a table of text for terminals, that without a perturbation in the first row.

    Where a target class was given, the share of images that are taken for it stands in further rows.

    Args:
        matrix: What `transfer_matrix` gave.

    Raises:
        GancoreError: As `text_table`.
    """
    names, victims, _ = fooling_rates(matrix)
    clean = [matrix[names[0]][victim].accuracy for victim in victims]
    rows = [("no perturbation", clean)]
    rows += [(name, [matrix[name][victim].perturbed_accuracy for victim in victims]) for name in names]
    cells = [["accuracy in %", *victims, "mean"], *[_percent(name, row) for name, row in rows]]
    reached = {name: [matrix[name][victim].targeted_success for victim in victims] for name in names}
    for name, rates in reached.items():
        known = [rate for rate in rates if rate is not None]
        if len(known) == len(victims):
            cells.append(_percent(f"taken for the target, {name}", known))
    return _text(cells)


def _percent(name: str, rates: Sequence[float]) -> list[str]:
    return [name, *(f"{100 * rate:.2f}" for rate in [*rates, _mean(rates)])]


def _text(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        right = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *right]).rstrip() + "\n")
    return "".join(lines)


def _cells(matrix: Matrix) -> list[list[str]]:
    names, victims, rates = fooling_rates(matrix)
    return [
        ["fooling rate in %", *victims, "mean"],
        *[_percent(name, row) for name, row in zip(names, rates, strict=True)],
    ]


def _unmarked(text: str) -> str:
    """Return a text in one line that Markdown shows as it is: no tags, links, pictures or further cells."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return re.sub(r"([\\`|~\[\]])", r"\\\1", html.escape(line, quote=False))


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
