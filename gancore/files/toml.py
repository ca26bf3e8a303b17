"""Reading and writing TOML: the standard library reads, and this writes the plain tables that recipes are made of."""

from __future__ import annotations

import json
import re
import stat
import tomllib
from collections.abc import Mapping
from datetime import date, time
from pathlib import Path
from typing import Any

from gancore.errors import GancoreError

LARGEST = 262_144
"""The most bytes of a file of TOML."""

DEEPEST = 32
"""The most levels of its tables and lists."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def read(path: Path) -> dict[str, Any]:
    """Return the table in a file.

    Raises:
        GancoreError: The file is missing, no file, of more than `LARGEST` bytes, not UTF-8, or no TOML of a recipe.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise GancoreError(f"{path} is no file; name a recipe, which is a TOML file.")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        return _parsed(content.decode("utf-8-sig"))  # some editors begin a file with a mark of its encoding
    except UnicodeDecodeError as error:
        raise GancoreError(f"{path} is not a text file in UTF-8; a recipe is a TOML file.") from error
    except ValueError as error:
        raise GancoreError(f"{path} is not valid TOML: {error}; correct the file.") from error
    except OSError as error:
        raise GancoreError(f"{path} can't be read: {error.strerror}.") from error


def value(text: str) -> Any:
    """Return what a text means on the right of ``=``; a bare word that is no TOML value is a string.

    Raises:
        ValueError: It has no form in TOML, or none in a recipe.
    """
    text.encode("utf-8")  # a command line may hold what is no text
    try:
        table = _parsed(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["value"] if len(table) == 1 else text


def _parsed(text: str) -> dict[str, Any]:
    """Return the table in a text; `ValueError` says why it is none."""
    if len(text) > LARGEST:
        raise ValueError(f"it has more than {LARGEST:,} bytes")
    # What reads TOML takes the square of a key's length.
    if any(piece.count(".") > DEEPEST for piece in re.split(r"[={\[,\n]", text)):
        raise ValueError(f"a key has more than {DEEPEST} dots")
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from None
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        level = [each for item in level for each in (item.values() if isinstance(item, dict) else item)]
        if any(isinstance(item, int) and not -(2**63) <= item < 2**63 for item in level):
            raise ValueError("a whole number has more than 64 bits")
        if any(isinstance(item, date | time) for item in level):
            raise ValueError("it has a date, which no recipe needs; write it as a text in quotes")
        level = [item for item in level if isinstance(item, dict | list)]
    if level:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels")
    return table


def dumps(table: Mapping[str, Any]) -> str:
    """Return a table as TOML; `read` gives back an equal table. None is left out, for TOML has no null."""
    return "\n".join(_lines(table, ())) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = [(k, v) for k, v in table.items() if not isinstance(v, Mapping) and v is not None]
    nested = [(k, v) for k, v in table.items() if isinstance(v, Mapping)]
    lines = []
    if path and (plain or not nested):
        lines.append(f"[{'.'.join(map(_key, path))}]")
    lines += [f"{_key(k)} = {_value(v)}" for k, v in plain]
    if plain or (path and not nested):
        lines.append("")
    for key, inner in nested:
        lines += _lines(inner, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _value(item: Any) -> str:
    if isinstance(item, float):
        return repr(item)
    if isinstance(item, bool | int | str):
        return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(item, list | tuple):
        return "[" + ", ".join(map(_value, item)) + "]"
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in item.items()) + "}"
    raise TypeError(f"{item!r} has no form in TOML")
