"""Collectives over the processes of a run: sums, means and rows, with exact gradients. They return what they are given in one.

Gradients are averaged before they are used, so a loss may be anything that is a mean over images; one that is not (a mean
inside a logarithm, pairs of images) goes through `global_mean` or `gather`, and is then exact as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from gancore.parallel.distributed import explained, rank, world_size


def global_sum(value: Tensor) -> Tensor:
    """Return the sum of `value` over all processes, without gradient."""
    if not dist.is_initialized():
        return value
    total = value.detach().clone(memory_format=torch.contiguous_format)
    with explained():
        dist.all_reduce(total)
    return total


def global_mean(value: Tensor) -> Tensor:
    """Return the mean of `value` over all processes, with an exact gradient.

    Each process's gradient flows through its own share, and the averaging of gradients supplies the factor 1/processes.
    So the loss may be non-linear in the mean, but every process must compute the same function of it.
    """
    if not dist.is_initialized():
        return value
    return global_sum(value) / world_size() + (value - value.detach())


def gather(rows: Tensor) -> Tensor:
    """Return the rows (N, ...) of all processes, in their order, with an exact gradient for this process's own.

    For a loss that compares the images of a batch with each other: every process must compute the same function of them.
    The numbers of rows may differ.
    """
    if not dist.is_initialized():
        return rows
    pieces = gather_list(rows)
    # The loss is the same in every process and its gradients are averaged, so each must supply its rows' whole share.
    pieces[rank()] = rows.detach() + world_size() * (rows - rows.detach())
    return torch.cat(pieces)


def gather_list(rows: Tensor) -> list[Tensor]:
    """Return the rows (N, ...) of each process, without gradient; the numbers of rows may differ."""
    if not dist.is_initialized():
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
    with explained():
        dist.all_gather(pieces, value)
    return pieces


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        return global_sum(value)

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Any:
        return _Sum.apply(grads[0])  # type: ignore[no-untyped-call]


def gather_statistics(row: Tensor) -> Tensor:
    """Return a vector (F,) of every process as (processes, F), differentiable any number of times.

    Unlike `gather`, gradients cross from process to process: what another process does with this one's row counts too. So
    each may compute a function of its own, as a layer that normalizes its own images does.
    """
    # The rows are the sum of matrices that hold one row each, so that a sum is all that needs a gradient.
    alone = F.pad(row[None], (0, 0, rank(), world_size() - 1 - rank()))
    rows: Tensor = _Sum.apply(alone)  # type: ignore[no-untyped-call]
    return rows


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average the gradients of a player's turn over all processes, in one flat bucket."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = global_sum(torch.cat([gradient.reshape(-1) for gradient in gradients])).div_(world_size())
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every process rank 0's values."""
    if not dist.is_initialized():
        return
    for tensor in tensors:
        value = tensor.detach().contiguous()
        with explained():
            dist.broadcast(value, src=0)
        tensor.copy_(value)
