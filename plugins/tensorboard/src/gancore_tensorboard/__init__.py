"""Losses, scores and samples of a training in TensorBoard: a gancore plugin that observes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gancore import hookimpl

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

    from gancore import Run

GANCORE_API = 1

_writers: dict[Path | None, SummaryWriter] = {}
"""What writes the events of each run that is being trained, by the run's folder."""


@hookimpl
def gancore_run_started(run: Run) -> None:
    """Open the run's folder of events."""
    from gancore_tensorboard.writing import opened

    _writers[run.folder] = opened(run)


@hookimpl
def gancore_logged(run: Run, iteration: int, values: Mapping[str, float]) -> None:
    """Write the losses."""
    if run.folder in _writers:
        for name, value in values.items():
            _writers[run.folder].add_scalar(f"losses/{name}", value, iteration)


@hookimpl
def gancore_sampled(run: Run, iteration: int, images: Tensor) -> None:
    """Write the samples as one picture."""
    if run.folder in _writers:
        from gancore_tensorboard.writing import grid

        # What is no picture (points in the plane, say) is not shown as one.
        if images.shape[1] in (1, 3):
            _writers[run.folder].add_image("samples", grid(images), iteration)


@hookimpl
def gancore_evaluated(run: Run, iteration: int, scores: Mapping[str, Any]) -> None:
    """Write the scores that are numbers."""
    if run.folder in _writers:
        for name, value in scores.items():
            if isinstance(value, int | float):
                _writers[run.folder].add_scalar(f"scores/{name}", value, iteration)


@hookimpl
def gancore_checkpointed(run: Run) -> None:
    """Have on disk what was observed of a saved state."""
    if run.folder in _writers:
        _writers[run.folder].flush()


@hookimpl
def gancore_run_ended(run: Run) -> None:
    """Close the events."""
    if run.folder in _writers:
        _writers.pop(run.folder).close()


@hookimpl
def gancore_run_failed(run: Run) -> None:
    """Close the events; those of the iterations before the end are there."""
    gancore_run_ended(run)
