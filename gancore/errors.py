"""The one exception that a user meets: a sentence that says what, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GancoreError(Exception):
    """Bad input of any kind. Its text is shown as it is, and the command ends with exit status 2.

    Raise it with one full sentence that names the thing, the place, and the remedy.
    """


NO_PLUGIN = "no plugin is installed; `pip install 'gancore[all]'` brings those of the project."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest of `known`, or an empty string when nothing is near."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def listed(names: Iterable[str], *, none: str = "none") -> str:
    """Return the names sorted and joined by commas, or `none`."""
    return ", ".join(sorted(names)) or none


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text without a full stop, or its class where it has no text."""
    return next((line.strip().rstrip(".:") for line in str(error).splitlines() if line.strip()), type(error).__name__)
