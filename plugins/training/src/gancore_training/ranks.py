"""What the processes of a run have in common: that there is one, that none was asked to stop, that all train the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import click
import torch
import torch.distributed as dist

from gancore import GancoreError
from gancore.tools import distributed
from gancore_training.launchers import meet_as_launched

LONG = 30.0
"""Seconds after which a process says whom it waits for."""


def join(device: torch.device) -> None:
    """Meet the other processes that were started with this one, if there are any; say whom it waits for when that takes long.

    Raises:
        GancoreError: They can't be reached.
    """
    meet_as_launched()
    place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    text = (
        f"process {distributed.planned_rank()} of {distributed.planned_size()} waits for the others at {place}; where there "
        "are none, unset what says so (WORLD_SIZE of torchrun, SLURM_STEP_NUM_TASKS of srun)"
    )
    waiting = threading.Timer(LONG, partial(click.echo, text, err=True))
    waiting.daemon = True
    if distributed.planned_size() > 1 and not dist.is_initialized():
        waiting.start()
    try:
        distributed.start(device)
    finally:
        waiting.cancel()


def one_process(what: str) -> None:
    """Refuse several processes.

    Raises:
        GancoreError: There are several.
    """
    meet_as_launched()
    if distributed.planned_size() > 1:
        raise GancoreError(f"{what} runs in one process; start it without torchrun.")


def _of_all(value: Any) -> list[Any]:
    """Return every process's value, in their order."""
    if distributed.world_size() == 1:
        return [value]
    values = [None] * distributed.world_size()
    with distributed.explained():
        dist.all_gather_object(values, value)
    return values


def any_of(flag: bool) -> bool:
    """Return whether the flag is set in any process."""
    return any(_of_all(flag))


def refuse_differences(what: Mapping[str, Any]) -> None:
    """Refuse to go on with processes that were started with different things, which would train no one model.

    Args:
        what: What they must have in common, by its name. All processes call this at the same place.

    Raises:
        GancoreError: Another process has something else.
    """
    first, *others = _of_all(what)
    for number, other in enumerate(others, start=1):
        for name in sorted(key for key in {*first, *other} if first.get(key) != other.get(key)):
            raise GancoreError(
                f"the processes differ in {name}: it is {first.get(name)!s:.60} in process 0 and {other.get(name)!s:.60} in "
                f"process {number}; start all of them by one torchrun command, with the same data and versions."
            )
