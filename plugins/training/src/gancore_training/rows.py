"""A run's log and scores as rows: what a data frame takes, and what shows itself as a table."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from gancore.tools import plain
from gancore_training.component_list import aligned
from gancore_training.run_folder import RunFolder, entries

MOST_SHOWN = 20
"""Rows that a table shows."""


class Rows(list[dict[str, Any]]):
    """Rows of equal keys, oldest first; ``pandas.DataFrame(rows)`` takes them. Shows itself as a table of the newest."""

    def columns(self) -> list[str]:
        """Return the keys of all rows, in the order in which they first stand."""
        return list(dict.fromkeys(key for row in self for key in row))

    def _cells(self) -> list[list[str]]:
        columns = self.columns()
        return [[_shown(row.get(column)) for column in columns] for row in self[-MOST_SHOWN:]]

    def __repr__(self) -> str:
        if not self:
            return "no rows"
        left_out = len(self) - MOST_SHOWN
        return "\n".join([*([f"({left_out} older rows)"] if left_out > 0 else []), *aligned([self.columns(), *self._cells()])])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(plain(column))}</th>" for column in self.columns())
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for cells in self._cells())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _shown(value: object) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return plain(text if len(text) <= 40 else f"{text[:37]}...")


def log_rows(folder: RunFolder) -> Rows:
    """Return a row for each line of a run's log.

    Its keys are ``iteration``, ``seconds``, ``other_seconds``, ``images_per_second``, ``loss/NAME`` and ``monitor/NAME``.
    """
    rows = Rows()
    for entry in entries(folder.log):
        row = {key: value for key, value in entry.items() if not isinstance(value, Mapping)}
        for key, name in (("losses", "loss"), ("monitors", "monitor")):
            values = entry.get(key)
            row |= {f"{name}/{label}": value for label, value in values.items()} if isinstance(values, Mapping) else {}
        rows.append(row)
    return rows


def score_rows(folder: RunFolder) -> Rows:
    """Return a row for each score of each evaluation: ``iteration``, ``score``, ``value``, ``better``, ``protocol``.

    Values whose ``protocol`` differs were made in different ways, and are not to be compared.
    """
    rows = Rows()
    for entry in entries(folder.scores):
        scores, protocols, better = (_table(entry.get(key)) for key in ("scores", "protocols", "better"))
        for name, value in scores.items():
            protocol = _table(protocols.get(name.split("/")[0])).get("id")
            rows.append(
                {
                    "iteration": entry["iteration"],
                    "score": name,
                    "value": value,
                    "better": better.get(name),
                    "protocol": protocol,
                }
            )
    return rows


def newest(scores: Rows) -> Rows:
    """Return of each score that is a number, and each protocol, the newest row."""
    numbers = [row for row in scores if isinstance(row["value"], int | float)]
    return Rows({(row["score"], row["protocol"]): row for row in numbers}.values())


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
