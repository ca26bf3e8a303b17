"""Writing TensorBoard's files of events, by torch's own writer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from gancore import GancoreError
from gancore.tools import toml

if TYPE_CHECKING:
    from gancore import Run

FOLDER = "tensorboard"
"""Name of the events' folder in that of the run."""

COLUMNS = 8


def opened(run: Run) -> SummaryWriter:
    """Return what writes a run's events into its folder.

    Events of iterations that a resumed run makes again are hidden.

    Raises:
        GancoreError: The run has no folder, or that of the events leads elsewhere.
    """
    if run.folder is None:
        raise GancoreError("the run has no folder, so its events can't be written; train it with --out.")
    folder = run.folder / FOLDER
    if folder.is_symlink():
        raise GancoreError(f"{folder} is a link out of the run; remove it, so that events are written there.")
    writer = SummaryWriter(str(folder), purge_step=run.iteration + 1 if run.iteration else None)
    recipe = "\n".join(f"    {line}" for line in toml.dumps(run.recipe.table).splitlines())
    writer.add_text("recipe", recipe, run.iteration)
    return writer


def grid(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) in [-1, 1] as one picture (C, rows * H, `COLUMNS` * W) in [0, 1]; what is missing is black.

    What is no number is shown black too.
    """
    unit = torch.nan_to_num(images.float() / 2 + 0.5).clamp(0, 1)
    rows = -(-len(unit) // COLUMNS)
    _, channels, height, width = unit.shape
    full = F.pad(unit, (0, 0, 0, 0, 0, 0, 0, rows * COLUMNS - len(unit)))
    placed = full.view(rows, COLUMNS, channels, height, width).permute(2, 0, 3, 1, 4)
    return placed.reshape(channels, rows * height, COLUMNS * width)
