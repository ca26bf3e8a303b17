"""Several processes under ``torchrun``: how they meet, which of them this is, and what they agree on.

Every process runs the same program on its own rows of each batch. Their weights are equal at the start and stay equal, for
every gradient is averaged before it is used (`gancore.parallel.collectives`).
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import attrs
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from gancore.errors import GancoreError, first_line

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others in a collective: the longest that rank 0 may score or write alone."""

Rows = TypeVar("Rows")

_store: Any = None


class ProcessLost(GancoreError):  # noqa: N818 - it says what has happened
    """Another process of the run has died or left."""


def planned_size() -> int:
    """Number of processes that ``torchrun`` says there are, whether they have met yet or not."""
    return _variable("WORLD_SIZE", 1)


def planned_rank() -> int:
    """This process's number as ``torchrun`` says, whether the processes have met yet or not."""
    return _variable("RANK", 0)


def local_rank() -> int:
    """This process's number on its machine, which is the number of its GPU."""
    return _variable("LOCAL_RANK", 0)


def _variable(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise GancoreError(
            f"the environment's {name} is {text!r}, no whole number; start several processes by torchrun."
        ) from None


def start(device: torch.device) -> None:
    """Join the process group that ``torchrun`` describes in the environment, if there is one.

    Raises:
        GancoreError: The other processes can't be reached.
    """
    global _store
    if planned_size() == 1 or dist.is_initialized():
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        _store, rank, size = next(iter(rendezvous("env://", timeout=PATIENCE)))
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=_store, rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise GancoreError(
            f"process {planned_rank()} of {planned_size()} can't join the others ({_cause(error)}); "
            "start all of them by one torchrun command."
        ) from error


def stop() -> None:
    """Leave the process group."""
    global _store
    if dist.is_initialized():
        dist.destroy_process_group()
        _store = None
        # What still holds a group in a cycle would end its threads after Python has ended, which aborts the process.
        gc.collect()


def first_to_fail() -> bool:
    """Return whether no other process has failed before this one, so that one of them says why and not all."""
    try:
        store = _store or _torchruns_store()
        alone = planned_rank() == 0 or "MASTER_ADDR" not in os.environ
        return alone if store is None else bool(store.add("gancore/failed", 1) == 1)
    except (RuntimeError, GancoreError):  # who kept the count is gone, or the environment wrong; perhaps nobody has spoken
        return True


def _torchruns_store() -> Any:
    """Return the store that torchrun keeps for its processes from the start, or None without torchrun."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ.get("MASTER_ADDR", ""), _variable("MASTER_PORT", 0)
    return dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=10))  # type: ignore[attr-defined]


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, over all machines; rank 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def rows_each(number: int, what: str) -> int:
    """Return how many of `number` belong to each process.

    Raises:
        GancoreError: They can't be shared out evenly.
    """
    size = world_size()
    if number % size:
        raise GancoreError(f"{what} is {number}, which {size} processes can't share evenly; choose a multiple of {size}.")
    return number // size


def own_rows(rows: Rows) -> Rows:
    """Return this process's part of rows (N, ...) that stand for a whole batch; parts differ by at most one row.

    Args:
        rows: A tensor, or a table, a tuple or an attrs instance of some; what else is in it stays as it is.
    """
    own: Rows = rows if world_size() == 1 else part_of(rows, rank(), world_size())
    return own


def part_of(rows: Any, part: int, parts: int) -> Any:
    """Return one of so many parts of rows; see `own_rows`."""
    if isinstance(rows, Tensor):
        return rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]
    if isinstance(rows, Mapping):
        return {name: part_of(value, part, parts) for name, value in rows.items()}
    if isinstance(rows, tuple):
        return tuple(part_of(value, part, parts) for value in rows)
    return attrs.evolve(rows, **part_of(attrs.asdict(rows, recurse=False), part, parts)) if attrs.has(type(rows)) else rows


def own_slice(number: int) -> slice:
    """Return which of the `number` rows of a whole batch are this process's."""
    return slice(number * rank() // world_size(), number * (rank() + 1) // world_size())


@contextmanager
def explained() -> Iterator[None]:
    """Say in a sentence that a process is gone, where the library says that a connection was closed."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost(
            f"process {rank()} of {world_size()} lost another one ({_cause(error)}), so the run ends here; start the "
            "same command again with --resume to go on from the newest checkpoint."
        ) from error


def _cause(error: BaseException) -> str:
    # gloo begins with the place in its source, and ends with advice.
    return re.sub(r"^\[[^\]]*\.\w+:\d+\] ", "", first_line(error)).split(". ")[0]


def agree(value: Any) -> Any:
    """Return rank 0's value (numbers, text, and tables of them) in every process."""
    if world_size() == 1:
        return value
    box = [value]
    with explained():
        dist.broadcast_object_list(box, src=0)
    return box[0]


def on_rank_zero(work: Callable[[], Any]) -> Any:
    """Let rank 0 do what is done once, and return its result in every process.

    Raises:
        GancoreError: What rank 0 raised, in every process.
    """
    if world_size() == 1:
        return work()
    result, problem = None, None
    if rank() == 0:
        try:
            result = work()
        except GancoreError as error:
            problem = str(error)
        except OSError as error:
            problem = f"process 0 can't go on: {error.strerror or error}{f' ({error.filename})' if error.filename else ''}."
    result, problem = agree((result, problem))
    if problem is not None:
        raise GancoreError(problem)
    return result
