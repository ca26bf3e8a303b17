"""Faces whose names are imported when they are first asked for, so that a face costs no torch before one of them is used.

The names of such a face stand once, in the stub beside it, which type checkers read too.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gancore.errors import MORE_PLUGINS, did_you_mean


def face(
    module: str, file: str, added: Callable[[], Mapping[str, Callable[[], Any]]] = dict
) -> tuple[list[str], Callable[[], list[str]], Callable[[str], Any]]:
    """Return ``__all__``, ``__dir__`` and ``__getattr__`` (PEP 562) of a module whose stub imports what it shows.

    Args:
        module: The module's ``__name__``.
        file: Its ``__file__``.
        added: Returns what loads each of the names, in lower case, that are there beside those of the stub.
    """
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [statement for statement in stub.body if isinstance(statement, ast.ImportFrom)]
    homes = {alias.name: str(statement.module) for statement in imports for alias in statement.names}

    def get(name: str) -> Any:
        if name not in homes:
            more = added() if name.islower() else {}
            if name in more:
                return more[name]()
            remedy = "" if added is dict else f"{did_you_mean(name, [*homes, *more])}; {MORE_PLUGINS}"
            raise AttributeError(f"module {module!r} has no attribute {name!r}{remedy}")
        if homes[name] == module:  # a module of the package itself
            return importlib.import_module(f"{module}.{name}")
        return getattr(importlib.import_module(homes[name]), name)

    return sorted(homes), lambda: sorted({*homes, *added()}), get
