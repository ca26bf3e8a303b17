"""gancore: GAN research as installable, composable plugins.

The names below are the whole public contract. `Component`, `Range`, `hookimpl` and `GANCORE_API` need no torch, so that a
plugin's declaring module stays cheap to import; the base classes are imported with torch when first touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gancore.contract import GANCORE_API, Component, Factor, Range, hookimpl
from gancore.errors import GancoreError
from gancore.lazy import importer
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
        Latent,
        Latents,
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
    "Factor",
    "GancoreError",
    "Generator",
    "Head",
    "Latent",
    "Latents",
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

_PARALLEL = ("gather", "global_mean", "global_sum", "rand", "randn")

if not TYPE_CHECKING:  # or every misspelled name would be of any type
    __getattr__ = importer(__name__, {"gancore.parallel": _PARALLEL, "gancore.contract": set(__all__) - set(_PARALLEL)})
