"""The outer loop: training into a folder, checkpoints, evaluation. Imports torch where a name needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gancore.lazy import importer

if TYPE_CHECKING:
    from gancore.training import checkpoint, prerequisites
    from gancore.training.evaluate import Evaluator
    from gancore.training.image_formats import image_format, suffixes
    from gancore.training.prerequisites import wanted
    from gancore.training.progress import Progress, Silent, Terminal
    from gancore.training.protocol import fingerprint, identified
    from gancore.training.run_folder import RunFolder, entries
    from gancore.training.sampling import sample
    from gancore.training.timing import WallClock, wall_clock
    from gancore.training.trainer import Interrupted, build, open_run, train, write_scores

__all__ = [
    "Evaluator",
    "Interrupted",
    "Progress",
    "RunFolder",
    "Silent",
    "Terminal",
    "WallClock",
    "build",
    "checkpoint",
    "entries",
    "fingerprint",
    "identified",
    "image_format",
    "open_run",
    "prerequisites",
    "sample",
    "suffixes",
    "train",
    "wall_clock",
    "wanted",
    "write_scores",
]

if not TYPE_CHECKING:  # or every misspelled name would be of any type
    __getattr__ = importer(
        __name__,
        {
            "gancore.training.checkpoint": ("checkpoint",),
            "gancore.training.evaluate": ("Evaluator",),
            "gancore.training.image_formats": ("image_format", "suffixes"),
            "gancore.training.prerequisites": ("prerequisites", "wanted"),
            "gancore.training.progress": ("Progress", "Silent", "Terminal"),
            "gancore.training.protocol": ("fingerprint", "identified"),
            "gancore.training.run_folder": ("RunFolder", "entries"),
            "gancore.training.sampling": ("sample",),
            "gancore.training.timing": ("WallClock", "wall_clock"),
            "gancore.training.trainer": ("Interrupted", "build", "open_run", "train", "write_scores"),
        },
    )
