"""The one exception that a user meets: a sentence that says what, where, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class GancoreError(Exception):
    """Bad input of any kind. Its text is shown as it is, and the command ends with exit status 2.

    Raise it with one full sentence that names the thing, the place, and the remedy.
    """


MORE_PLUGINS = "`pip install 'gancore[all]'` brings the plugins of the project."
NO_PLUGIN = f"no plugin is installed; {MORE_PLUGINS}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the nearest of `known`, or an empty string when nothing is near."""
    near = difflib.get_close_matches(word[:100], sorted(known), n=1, cutoff=0.6)
    return f" (did you mean {shown(near[0])}?)" if near else ""


def shown(value: object, most: int = 60) -> str:
    """Return a value of a recipe, a file or a command line as a sentence quotes it: its `repr`, cut where that is longer."""
    try:
        text = repr(value)
    except Exception:  # a number of more digits than Python writes, or a stranger's object
        text = f"a {type(value).__name__} too long to write"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def plain(text: str) -> str:
    """Return a stranger's text in one line, without what a terminal would obey: control characters, turns of direction."""
    return "".join(each if each.isprintable() else " " if each.isspace() else "?" for each in text)


def sentence(error: BaseException) -> str:
    """Return each line of an error's text as it may be shown, its middle left out where it has more than 400 characters."""
    lines = [plain(line) for line in str(error).split("\n")]
    return "\n".join(line if len(line) <= 400 else f"{line[:240]} ... {line[-150:]}" for line in lines)


def listed(names: Iterable[str], *, none: str = "none") -> str:
    """Return the names sorted and joined by commas, or `none`."""
    return ", ".join(sorted(names)) or none


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text without a full stop, or its class where it has no text."""
    return next((line.strip().rstrip(".:") for line in str(error).splitlines() if line.strip()), type(error).__name__)


_MEMORY = re.compile("out of memory|allocate memory|size calculation overflowed")


def refusal(error: Exception) -> GancoreError | None:
    """Return what the user is told where the input or the system refuses, and None for any other error."""
    if isinstance(error, OSError):
        what = f"{error.filename or 'a file'} can't be read or written: {error.strerror or error}"
        return GancoreError(f"{what}; mend that, and try again.")
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MEMORY.search(str(error))):
        return GancoreError(
            f"there is not the memory for this ({first_line(error)[:200]}); lower the batch size or other sizes."
        )
    return error if isinstance(error, GancoreError) else None
