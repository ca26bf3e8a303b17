"""Writes the report: one self-contained HTML page on one run, or on several side by side. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gancore import GancoreError
from gancore.tools import write_text
from gancore_report.page import render
from gancore_report.reading import read_run


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write one HTML page that shows runs side by side, and return where it lies.

    A file of a run that is missing or damaged is passed over, and the page says so. A run that is named twice is shown once.

    Args:
        runs: Folders that `gancore train` wrote, at least one.
        out: The page to write; missing folders are made.

    Raises:
        GancoreError: No run is named, a folder holds none, or the page can't be written.
    """
    folders = list({path.resolve(): path for path in runs}.values())
    if not folders:
        raise GancoreError("a report needs at least one run; name a folder that `gancore train` wrote.")
    page = render([read_run(path) for path in folders])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, page)
    except OSError as error:
        raise GancoreError(f"{out} can't be written: {error.strerror}; choose another --out.") from error
    return out
