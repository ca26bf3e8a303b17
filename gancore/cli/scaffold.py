"""``gancore new-plugin``: a working plugin package with a test, to start from."""

from __future__ import annotations

import re
from pathlib import Path

from gancore.errors import GancoreError
from gancore.files import write_text

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

TEMPLATE = Path(__file__).with_name("template")
"""The package's files, each with ``.txt`` behind its name; @NAME@ and @MODULE@ in names and texts stand for the plugin's."""


def write_plugin(name: str, folder: Path) -> Path:
    """Write a plugin package and return its folder.

    Args:
        name: The plugin's name: lower-case letters, digits and dashes.
        folder: Where; it must not exist.

    Raises:
        GancoreError: The name can't be used, or the folder exists or can't be written.
    """
    if not _NAME.fullmatch(name):
        raise GancoreError(f"{name!r} can't be a plugin's name: use lower-case letters, digits and dashes, e.g. r1.")
    if folder.exists():
        raise GancoreError(f"{folder} exists already; choose another --to.")

    def fill(text: str) -> str:
        return text.replace("@NAME@", name).replace("@MODULE@", name.replace("-", "_"))

    for file in sorted(TEMPLATE.rglob("*.txt")):
        path = fill(str(file.relative_to(TEMPLATE)).removesuffix(".txt"))
        write_text(folder / path, fill(file.read_text(encoding="utf-8")))
    return folder
