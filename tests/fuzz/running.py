"""Runs numbered inputs, each in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import make
from tests.fuzz.inputs import Input
from tests.fuzz.judge import verdict


def judged(seed: int, *, show: bool = False) -> tuple[Input, str, float]:
    """Make the input of a number and run it; return it, what is wrong with how it ends, and the seconds that it took."""
    with _folder() as folder:
        made = make(seed, folder)
        begun = time.monotonic()
        problem = verdict(made, show=show)
        return made, problem, time.monotonic() - begun


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Give an empty working folder, with a cache of its own."""
    folder, before, cache = Path(tempfile.mkdtemp(prefix="fuzz-")), Path.cwd(), os.environ.get("GANCORE_CACHE")
    (folder / "work").mkdir()
    try:
        os.chdir(folder / "work")
        os.environ["GANCORE_CACHE"] = str(folder / "cache")
        yield folder / "work"
    finally:
        os.chdir(before)
        os.environ.pop("GANCORE_CACHE", None)
        if cache is not None:
            os.environ["GANCORE_CACHE"] = cache
        shutil.rmtree(folder, ignore_errors=True)
