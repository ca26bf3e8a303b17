"""gancore: GAN research as installable, composable plugins.

The names below are the whole public contract. `Component`, `Range`, `hookimpl` and `GANCORE_API` need no torch, so that a
plugin's declaring module stays cheap to import; the base classes are imported with torch when first touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gancore.contract import GANCORE_API, Component, Range, hookimpl
from gancore.errors import GancoreError
from gancore.version import __version__

if TYPE_CHECKING:
    from gancore.contract import (
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
        Run,
        Sampler,
        Translator,
    )
    from gancore.parallel import gather, global_mean, global_sum, rand, randn

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
    "Run",
    "Sampler",
    "Translator",
    "__version__",
    "gather",
    "global_mean",
    "global_sum",
    "hookimpl",
    "rand",
    "randn",
]

_PARALLEL = frozenset({"gather", "global_mean", "global_sum", "rand", "randn"})


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'gancore' has no attribute {name!r}")
    return getattr(importlib.import_module("gancore.parallel" if name in _PARALLEL else "gancore.contract"), name)
