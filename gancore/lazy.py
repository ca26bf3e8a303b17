"""Names that are imported when they are first asked for, so that a face costs no torch before it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def importer(face: str, homes: Mapping[str, Iterable[str] | str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` (PEP 562).

    Args:
        face: The module that shows the names.
        homes: Module -> the names that it defines, or a text of them. A module's own name stands for the module.
    """
    home_of = {name: home for home, names in homes.items() for name in (names.split() if isinstance(names, str) else names)}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {face!r} has no attribute {name!r}")
        home = importlib.import_module(home_of[name])
        return home if home_of[name].endswith(f".{name}") else getattr(home, name)

    return get
