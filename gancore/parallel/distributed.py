"""Several processes under ``torchrun``: ranks, and the few collectives that a run needs. Does nothing in one process.

Every process runs the same program on its own share of each batch. Their weights are equal at the start and stay equal, for
every gradient is averaged before it is used. So a loss may be anything that is a mean over images; one that is not (a mean
inside a logarithm, pairs of images) goes through `global_mean` or `gather`, and is then exact as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from gancore.errors import GancoreError, first_line

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others in a collective: the longest that rank 0 may score or write alone."""

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
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        _store = None


def one_process(what: str) -> None:
    """Refuse several processes.

    Raises:
        GancoreError: There are several.
    """
    if planned_size() > 1:
        raise GancoreError(f"{what} runs in one process; start it without torchrun.")


def first_to_fail() -> bool:
    """Return whether no other process has failed before this one, so that one of them says why and not all."""
    try:
        store = _store or _torchruns_store()
        return planned_rank() == 0 if store is None else bool(store.add("gancore/failed", 1) == 1)
    except (RuntimeError, GancoreError):  # who kept the count is gone, or the environment is wrong; perhaps nobody has spoken
        return True


def _torchruns_store() -> Any:
    """Return the store that torchrun keeps for its processes from the start, or None without torchrun."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return None
    address, port = os.environ.get("MASTER_ADDR", ""), _variable("MASTER_PORT", 0)
    return dist.TCPStore(address, port, is_master=False, timeout=timedelta(seconds=10))  # type: ignore[attr-defined]


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, over all machines; rank 0 writes."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def rows_each(number: int, what: str) -> int:
    """Return how many of `number` belong to each process.

    Raises:
        GancoreError: They can't be shared out evenly.
    """
    size = world_size()
    if number % size:
        raise GancoreError(f"{what} is {number}, which {size} processes can't share evenly; choose a multiple of {size}.")
    return number // size


def own_rows(rows: Tensor) -> Tensor:
    """Return this process's part of rows (N, ...) that stand for a whole batch; parts differ by at most one row."""
    return rows if world_size() == 1 else rows[own_slice(len(rows))]


def own_slice(number: int) -> slice:
    """Return which of the `number` rows of a whole batch are this process's."""
    return slice(number * rank() // world_size(), number * (rank() + 1) // world_size())


@contextmanager
def _explained() -> Iterator[None]:
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


def all_reduce(value: Tensor) -> Tensor:
    """Return the sum of `value` over all processes, without gradient."""
    total = value.detach().clone(memory_format=torch.contiguous_format)
    with _explained():
        dist.all_reduce(total)
    return total


def global_mean(value: Tensor) -> Tensor:
    """Return the mean of `value` over all processes, with an exact gradient.

    Each process's gradient flows through its own share, and the averaging of gradients supplies the factor 1/processes.
    So the loss may be non-linear in the mean, but every process must compute the same function of it.
    """
    if world_size() == 1:
        return value
    return all_reduce(value) / world_size() + (value - value.detach())


def global_sum(value: Tensor) -> Tensor:
    """Return the sum of `value` over all processes, without gradient."""
    return value if world_size() == 1 else all_reduce(value)


def gather(rows: Tensor) -> Tensor:
    """Return the rows (N, ...) of all processes, in their order, with an exact gradient for this process's own.

    For a loss that compares the images of a batch with each other: every process must compute the same function of them.
    The numbers of rows may differ.
    """
    if world_size() == 1:
        return rows
    pieces = gather_list(rows)
    # The loss is the same in every process and its gradients are averaged, so each must supply its rows' whole share.
    pieces[rank()] = rows.detach() + world_size() * (rows - rows.detach())
    return torch.cat(pieces)


def gather_list(rows: Tensor) -> list[Tensor]:
    """Return the rows (N, ...) of each process, without gradient; the numbers of rows may differ."""
    if world_size() == 1:
        return [rows.detach()]
    numbers = _gather_equal(torch.tensor([len(rows)], device=rows.device))
    sizes = [int(number) for number in torch.cat(numbers)]
    padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
    padded[: len(rows)] = rows.detach()
    # Collectives know no booleans on every backend.
    raw = padded.to(torch.uint8) if padded.dtype == torch.bool else padded
    return [piece[:size].to(rows.dtype) for piece, size in zip(_gather_equal(raw), sizes, strict=True)]


def _gather_equal(value: Tensor) -> list[Tensor]:
    value = value.contiguous()
    pieces = [torch.empty_like(value) for _ in range(world_size())]
    with _explained():
        dist.all_gather(pieces, value)
    return pieces


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, row: Tensor) -> Tensor:
        return torch.stack(_gather_equal(row))

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        return _summed(grads[0])[rank()]


class _SumOver(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        return all_reduce(value)

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Tensor:
        return _summed(grads[0])


def _summed(value: Tensor) -> Tensor:
    summed: Tensor = _SumOver.apply(value)  # type: ignore[no-untyped-call]
    return summed


def gather_statistics(row: Tensor) -> Tensor:
    """Return a vector (F,) of every process as (processes, F), differentiable any number of times.

    Unlike `gather`, gradients cross from process to process: what another process does with this one's row counts too. So
    each may compute a function of its own, as a layer that normalizes its own images does.
    """
    rows: Tensor = _GatherRows.apply(row)  # type: ignore[no-untyped-call]
    return rows


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average the gradients of a player's turn over all processes, in one flat bucket."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = all_reduce(torch.cat([gradient.reshape(-1) for gradient in gradients])).div_(world_size())
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every process rank 0's values."""
    if world_size() == 1:
        return
    for tensor in tensors:
        value = tensor.detach().contiguous()
        with _explained():
            dist.broadcast(value, src=0)
        tensor.copy_(value)


def agree(value: Any) -> Any:
    """Return rank 0's value (numbers, text, and tables of them) in every process."""
    if world_size() == 1:
        return value
    box = [value]
    with _explained():
        dist.broadcast_object_list(box, src=0)
    return box[0]


def any_of(flag: bool) -> bool:
    """Return whether the flag is set in any process."""
    if world_size() == 1:
        return flag
    flags: list[Any] = [None] * world_size()
    with _explained():
        dist.all_gather_object(flags, flag)
    return any(flags)


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
