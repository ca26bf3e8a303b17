"""The outer loop: training into a folder, checkpoints, evaluation. Imports torch where a name needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gancore.lazy import importer

if TYPE_CHECKING:
    from gancore.training import checkpoint as checkpoint
    from gancore.training import prerequisites as prerequisites
    from gancore.training.evaluate import Evaluator as Evaluator
    from gancore.training.evaluate import write_scores as write_scores
    from gancore.training.image_formats import image_format as image_format
    from gancore.training.image_formats import suffixes as suffixes
    from gancore.training.prerequisites import wanted as wanted
    from gancore.training.progress import Progress as Progress
    from gancore.training.progress import Terminal as Terminal
    from gancore.training.progress import duration as duration
    from gancore.training.protocol import fingerprint as fingerprint
    from gancore.training.protocol import identified as identified
    from gancore.training.run_folder import RunFolder as RunFolder
    from gancore.training.run_folder import entries as entries
    from gancore.training.sampling import sample as sample
    from gancore.training.stopping import Interrupted as Interrupted
    from gancore.training.trainer import build as build
    from gancore.training.trainer import open_run as open_run
    from gancore.training.trainer import train as train

_HOMES = {
    "gancore.training.checkpoint": "checkpoint",
    "gancore.training.evaluate": "Evaluator write_scores",
    "gancore.training.image_formats": "image_format suffixes",
    "gancore.training.prerequisites": "prerequisites wanted",
    "gancore.training.progress": "Progress Terminal duration",
    "gancore.training.protocol": "fingerprint identified",
    "gancore.training.run_folder": "RunFolder entries",
    "gancore.training.sampling": "sample",
    "gancore.training.stopping": "Interrupted",
    "gancore.training.trainer": "build open_run train",
}
__all__ = [name for names in _HOMES.values() for name in names.split()]

if not TYPE_CHECKING:  # or every misspelled name would be of any type
    __getattr__ = importer(__name__, _HOMES)
