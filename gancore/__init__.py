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
    from gancore.distributed import gather, global_mean, global_sum
    from gancore.random import rand, randn

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
    "gather",
    "global_mean",
    "global_sum",
    "hookimpl",
    "rand",
    "randn",
]

_CHEAP = frozenset({"GANCORE_API", "Component", "GancoreError", "Range", "hookimpl"})
_HOMES = {
    **dict.fromkeys(frozenset(__all__) - _CHEAP, "gancore.components"),
    **dict.fromkeys(("gather", "global_mean", "global_sum"), "gancore.distributed"),
    **dict.fromkeys(("rand", "randn"), "gancore.random"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gancore' has no attribute {name!r}")
