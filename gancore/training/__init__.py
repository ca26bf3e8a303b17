"""The outer loop: training into a folder, checkpoints, evaluation."""

from __future__ import annotations

from gancore.training import checkpoint, prerequisites
from gancore.training.evaluate import Evaluator
from gancore.training.pictures import save_grid, save_picture
from gancore.training.prerequisites import wanted
from gancore.training.progress import Progress, Silent, Terminal
from gancore.training.protocol import fingerprint
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
    "open_run",
    "prerequisites",
    "sample",
    "save_grid",
    "save_picture",
    "train",
    "wall_clock",
    "wanted",
    "write_scores",
]
