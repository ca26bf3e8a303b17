"""The one place where a text becomes a path."""

from __future__ import annotations

import os
from pathlib import Path

from gancore.errors import GancoreError, shown


def as_path(text: str | os.PathLike[str], what: str) -> Path:
    """Return the path that a text names, which need not be there; a home folder, ``~`` or ``~user``, is put in its place.

    Args:
        text: A text of a command line, a recipe or the environment.
        what: Names the text for the error, e.g. ``"--out"``.

    Raises:
        GancoreError: It is empty, names the home of nobody, or is no path that this machine can look at: too long, with a zero
            byte, below a closed folder, in a circle of links.
    """
    written = os.fspath(text)
    # Path.expanduser raises RuntimeError for a user that does not exist; this leaves the ~.
    path = Path(os.path.expanduser(written))  # noqa: PTH111
    if not written:
        raise GancoreError(f"{what} is empty; name a file or a folder.")
    if str(path).startswith("~"):
        why = "this user has no home folder" if path.parts[0] == "~" else "there is no such user"
        raise GancoreError(f"{what} {shown(written)} is no path: {why}; write the path in full.")
    if len(path.parts) > 255:  # folders are made and resolved one inside the other
        raise GancoreError(f"{what} {shown(written)} is no path: it goes through {len(path.parts)} folders; name another.")
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise GancoreError(f"{what} {shown(written)} is no path that can be looked at: {why}; name another.") from error
    return path
