"""Collectives over the processes of a run: sums, means and rows, with exact gradients. They return what they are given in one.

Gradients are averaged before they are used, so a loss may be anything that is a mean over images; what is not (a mean inside a
logarithm, pairs of images, a head's statistics of its batch) goes through `global_mean` or `gather`, and is then exact as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

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
    """Return the mean of `value` over all processes, with an exact gradient, of whatever each computes of it."""
    if not dist.is_initialized():
        return value
    total: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return total / world_size()


def gather(rows: Tensor) -> Tensor:
    """Return the rows (N, ...) of all processes, in their order, with an exact gradient, of whatever each computes of them.

    For what compares the images of a batch with each other. The numbers of rows may differ.
    """
    if not dist.is_initialized():
        return rows
    everyone: Tensor = _Rows.apply(rows)  # type: ignore[no-untyped-call]
    return everyone


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
    """The sum over all processes. Its gradient is that of all their losses, whose mean is what is trained."""

    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        return global_sum(value)

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> Any:
        return _Sum.apply(grads[0])  # type: ignore[no-untyped-call]


class _Rows(torch.autograd.Function):
    """The rows of all processes. Of one's own, the gradient is that of all their losses."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        pieces = gather_list(rows)
        ctx.start, ctx.number = sum(map(len, pieces[: rank()])), len(rows)
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Sum.apply(grads[0]).narrow(0, ctx.start, ctx.number)  # type: ignore[no-untyped-call]


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average the gradients of a player's turn over several processes, in one flat bucket."""
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
