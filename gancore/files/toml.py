"""Reading and writing TOML: the standard library reads, and this writes the plain tables that recipes are made of."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gancore.errors import GancoreError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def read(path: Path) -> dict[str, Any]:
    """Return the table in a file.

    Raises:
        GancoreError: The file is missing, not UTF-8, or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise GancoreError(f"{path} is not valid TOML: {error}; correct the file.") from error
    except UnicodeDecodeError as error:
        raise GancoreError(f"{path} is not a text file in UTF-8; a recipe is a TOML file.") from error
    except OSError as error:
        raise GancoreError(f"{path} can't be read: {error.strerror}.") from error


def value(text: str) -> Any:
    """Return what a text means on the right of ``=``; a bare word that is no TOML value is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


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
