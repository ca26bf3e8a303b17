"""The contract: all that the author of a component imports. Base classes are imported with torch when first touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gancore.contract.hooks import GANCORE_API, KINDS, OBSERVERS, Component, Hooks, hookimpl
from gancore.contract.schedules import Factor
from gancore.contract.settings import CONTEXT, Range, Setting, check, convert, settings_of
from gancore.lazy import importer

if TYPE_CHECKING:
    from gancore.contract.attacks import Attack
    from gancore.contract.data import Dataset, DatasetInfo, Drawn, Sampler
    from gancore.contract.latents import Latent, Latents
    from gancore.contract.loops import Loop
    from gancore.contract.losses import LossTerm
    from gancore.contract.metrics import Metric
    from gancore.contract.networks import Classifier, Discriminator, Generator, Head, Network, Translator
    from gancore.contract.running import Run

__all__ = [
    "CONTEXT",
    "GANCORE_API",
    "KINDS",
    "OBSERVERS",
    "Attack",
    "Classifier",
    "Component",
    "Dataset",
    "DatasetInfo",
    "Discriminator",
    "Drawn",
    "Factor",
    "Generator",
    "Head",
    "Hooks",
    "Latent",
    "Latents",
    "Loop",
    "LossTerm",
    "Metric",
    "Network",
    "Range",
    "Run",
    "Sampler",
    "Setting",
    "Translator",
    "check",
    "convert",
    "hookimpl",
    "settings_of",
]

if not TYPE_CHECKING:  # or every misspelled name would be of any type
    __getattr__ = importer(
        __name__,
        {
            "gancore.contract.attacks": ("Attack",),
            "gancore.contract.data": ("Dataset", "DatasetInfo", "Drawn", "Sampler"),
            "gancore.contract.latents": ("Latent", "Latents"),
            "gancore.contract.loops": ("Loop",),
            "gancore.contract.losses": ("LossTerm",),
            "gancore.contract.metrics": ("Metric",),
            "gancore.contract.networks": ("Classifier", "Discriminator", "Generator", "Head", "Network", "Translator"),
            "gancore.contract.running": ("Run",),
        },
    )
