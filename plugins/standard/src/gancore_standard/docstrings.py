"""Docstrings in lines of a terminal's width. Imports no torch."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

_SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")

_TABLE = re.compile(r"[= ]+|\S.* {2,}\S.*")
"""A line of a table, whose columns stand below each other."""


def fitted(text: str, width: int) -> Iterator[str]:
    """Yield the lines of a docstring in Google's style, filled anew; words, tables and what follows ``::`` are not broken.

    Args:
        text: The docstring, without the indentation of its code.
        width: Letters of a line.
    """
    filler = _Filler(width)
    for line in text.splitlines():
        yield from filler.take(line)
    yield from filler.rest()


class _Filler:
    """Collects the lines of a paragraph, or of an item of a list or a section, until it ends."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.words: list[str] = []
        self.start = 0
        self.hang = 0
        self.section: int | None = None
        self.literal: int | None = None

    def take(self, line: str) -> Iterator[str]:
        body = line.strip()
        indent = len(line) - len(line.lstrip())
        if self.literal is not None and (not body or indent > self.literal):
            yield line.rstrip()
            return
        self.literal = None
        if self.section is not None and body and indent <= self.section:
            yield from self.rest()
            self.section = None
        if not body or body in _SECTIONS or _TABLE.fullmatch(body):
            yield from self.rest()
            yield line.rstrip()
            self.section = indent if body in _SECTIONS else self.section
            return
        item = 2 if body.startswith("- ") else 4 if self.section is not None and indent == self.section + 4 else 0
        if item or not (self.words and (indent > self.start if self.hang else indent == self.start)):
            yield from self.rest()
            self.start, self.hang = indent, item
        self.words.append(body)
        if body.endswith("::"):
            yield from self.rest()
            self.literal = indent

    def rest(self) -> Iterator[str]:
        """Yield the paragraph so far, and begin another."""
        first, others = " " * self.start, " " * (self.start + self.hang)
        yield from textwrap.wrap(
            " ".join(self.words),
            self.width,
            initial_indent=first,
            subsequent_indent=others,
            break_long_words=False,
            break_on_hyphens=False,
        )
        self.words = []
