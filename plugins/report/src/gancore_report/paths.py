"""Paths that commands are given: runs, each once, and files to write. Needs no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gancore import GancoreError
from gancore.tools import write_text


def distinct(paths: Sequence[Path], what: str) -> list[Path]:
    """Return each path once, however it was written.

    Raises:
        GancoreError: There is none for `what`.
    """
    if not paths:
        raise GancoreError(f"{what} needs at least one run; name a folder that `gancore train` wrote.")
    return list({path.resolve(): path for path in paths}.values())


def told_apart(paths: Sequence[Path]) -> list[str]:
    """Return the name of each folder, with as many of those above it as it takes to tell it from the others."""
    parts = [path.resolve().parts for path in paths]
    labels = []
    for own in parts:
        length = 1
        while length < len(own) and sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        labels.append("/".join(own[-length:]))
    return labels


def beside(runs: Sequence[Path]) -> Path:
    """Return where a page on runs lies that nobody named: beside the run, or in the innermost folder that holds several."""
    folders = [path.resolve() for path in runs]
    common = Path(os.path.commonpath([folder.parent for folder in folders]))
    # As it was typed where that is the same folder, so that what is printed can be read.
    folder = next((run.parent for run in runs if run.name and run.parent.resolve() == common), common)
    return folder / (f"{folders[0].name}-report.html" if len(set(folders)) == 1 else "report.html")


def write_whole(out: Path, text: str) -> None:
    """Write a file, and the folders above it.

    Raises:
        GancoreError: It can't be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, text)
    except OSError as error:
        raise GancoreError(f"{out} can't be written: {error.strerror}; choose another --out.") from error
