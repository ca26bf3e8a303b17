"""The step: a run, and the phases of its players."""

from __future__ import annotations

from gancore.engine.batches import Labels, to_uint8, to_unit
from gancore.engine.devices import choose_device, choose_precision, processor, synchronize
from gancore.engine.forwards import as_images, evaluating, finite
from gancore.engine.host_waits import Watch
from gancore.engine.parts import Parts
from gancore.engine.players import Player
from gancore.engine.run import Run

__all__ = [
    "Labels",
    "Parts",
    "Player",
    "Run",
    "Watch",
    "as_images",
    "choose_device",
    "choose_precision",
    "evaluating",
    "finite",
    "processor",
    "synchronize",
    "to_uint8",
    "to_unit",
]
