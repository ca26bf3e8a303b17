"""Docstrings in lines of a terminal: paragraphs and items are filled, what is set apart stays, and no word is lost."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from click.testing import CliRunner
from gancore_standard.docstrings import fitted
from gancore_standard.show import show

from gancore.tools import registry

TEXT = """\
A summary that is longer than the terminal.

The first paragraph, of two lines
that are one::

    a formula   that is set apart, and stays as it is

- One item of a list that goes on
  in a second line.
- Another.

====  ====
one   two three four five six seven
====  ====

Args:
    first: What it is, which takes
        more than a line.
    second: Short.

Raises:
    GancoreError: It is not."""

FILLED = """\
A summary that is longer than
the terminal.

The first paragraph, of two
lines that are one::

    a formula   that is set apart, and stays as it is

- One item of a list that goes
  on in a second line.
- Another.

====  ====
one   two three four five six seven
====  ====

Args:
    first: What it is, which
        takes more than a
        line.
    second: Short.

Raises:
    GancoreError: It is not."""


def test_paragraphs_and_items_are_filled_and_what_is_set_apart_stays() -> None:
    assert "\n".join(fitted(TEXT, 30)) == FILLED
    # What fits already stays as it is written.
    assert "\n".join(fitted(FILLED, 30)) == FILLED


DECLARED = [one for one in registry().components() if one.full_name.startswith("standard/") and one.kind != "command"]


@pytest.mark.parametrize("width", [38, 78])
def test_no_word_of_a_components_documentation_is_lost(width: int) -> None:
    loaded: dict[str, Any] = {one.full_name: registry().load(one) for one in DECLARED}
    texts = {name: inspect.getdoc(target) or "" for name, target in loaded.items()}
    assert sum(len(text) > 500 for text in texts.values()) > 10
    for name, text in texts.items():
        lines = list(fitted(text, width))
        assert " ".join(lines).split() == text.split(), name
        # A line may be longer where it was set apart, or is one word behind its indentation.
        longer = [line for line in lines if len(line) > width and line not in text.splitlines()]
        assert all(len(line.split()) == 1 for line in longer), (name, longer)


def test_a_component_is_shown_in_the_width_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(show, ["standard/robust-accuracy"], catch_exceptions=False).output
    assert max(map(len, shown.splitlines())) <= 80
    assert re.search(r"\n    epsilons +a list of: ", shown)
