"""Several processes under ``torchrun``: ranks, and the few collectives a training step needs. Does nothing in one process."""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def start(device: torch.device) -> None:
    """Join the process group that ``torchrun`` describes in the environment, if there is one."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, over all machines; rank 0 writes."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def global_mean(value: Tensor) -> Tensor:
    """Return the mean of `value` over all processes, with an exact gradient.

    Each rank's gradient flows through its own share, and the averaging of gradients over ranks supplies the factor 1/ranks.
    So the loss may be non-linear in the mean, but every rank must compute the same function of it.
    """
    if world_size() == 1:
        return value
    mean = value.detach().clone()
    dist.all_reduce(mean, op=dist.ReduceOp.SUM)
    mean /= world_size()
    return mean + (value - value.detach())


def global_sum(value: Tensor) -> Tensor:
    """Return the sum of `value` over all processes, without gradient."""
    if world_size() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total, op=dist.ReduceOp.SUM)
    return total


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average the gradients of a player's turn over all processes, in one flat bucket."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat, op=dist.ReduceOp.SUM)
    flat /= world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def broadcast(tensors: Iterable[Tensor]) -> None:
    """Give every process rank 0's values."""
    if world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)
