"""gancore: GAN research as installable, composable plugins.

The names below are the whole public contract. `Component`, `Range`, `hookimpl` and `GANCORE_API` need no torch, so that a
plugin's declaring module stays cheap to import; the base classes are imported with torch when first touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gancore.errors import GancoreError
from gancore.hookspecs import GANCORE_API, Component, hookimpl
from gancore.settings import Range

if TYPE_CHECKING:
    from gancore.components import (
        Attack,
        Classifier,
        Dataset,
        DatasetInfo,
        Discriminator,
        Drawn,
        Generator,
        Head,
        Loop,
        LossTerm,
        Metric,
        Network,
        Sampler,
        Translator,
    )

__version__ = "0.1.0"

__all__ = [
    "GANCORE_API",
    "Attack",
    "Classifier",
    "Component",
    "Dataset",
    "DatasetInfo",
    "Discriminator",
    "Drawn",
    "GancoreError",
    "Generator",
    "Head",
    "Loop",
    "LossTerm",
    "Metric",
    "Network",
    "Range",
    "Sampler",
    "Translator",
    "hookimpl",
]

_NEEDS_TORCH = frozenset(__all__) - {"GANCORE_API", "Component", "GancoreError", "Range", "hookimpl"}


def __getattr__(name: str) -> Any:
    if name in _NEEDS_TORCH:
        return getattr(importlib.import_module("gancore.components"), name)
    raise AttributeError(f"module 'gancore' has no attribute {name!r}")
