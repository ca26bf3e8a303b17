"""Batch norm over the batch of all processes, so that several compute what one would."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import gancore.parallel.collectives as collectives
import gancore.parallel.distributed as distributed

OWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class SynchronizedBatchNorm(_BatchNorm):
    """Batch norm (Ioffe and Szegedy 2015) whose training statistics are those of all processes' images.

    One collective forward and one backward a layer, of a mean and a variance per map. Parameters, buffers and their names are
    those of `torch.nn.BatchNorm2d`. Works on any device (`torch.nn.SyncBatchNorm` refuses a CPU), with numbers of images that
    differ between processes, and under second derivatives.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """Normalize maps (N, C, ...)."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(input)
        self._check_input_dim(input)
        with torch.autocast(input.device.type, enabled=False):
            return self._normalize(input.float()).to(input.dtype)

    def _normalize(self, x: Tensor) -> Tensor:
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        here = x.numel() / x.shape[1]
        variance, mean = torch.var_mean(x, axes, correction=0)
        rows = collectives.gather(torch.cat([mean, variance, mean.new_full((1,), here)])[None])
        means, variances = rows[:, : x.shape[1]], rows[:, x.shape[1] : -1]
        numbers = rows[:, -1:].detach()
        shares = numbers / numbers.sum()
        mean = (shares * means).sum(0)
        # The variance of the whole is the mean of the parts' variances plus the variance of their means.
        variance = (shares * (variances + (means - mean).square())).sum(0)
        self._track(mean.detach(), variance.detach(), numbers.sum())
        normed = (x - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        return normed if self.weight is None else normed * self.weight.view(shape) + self.bias.view(shape)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, number: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked.float() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (number / (number - 1)), share)


def synchronize(network: nn.Module) -> set[str]:
    """Turn a network's batch norms into those over all processes; return the classes of others that it can't.

    A batch norm of another class keeps the statistics of its own process.
    """
    left = set()
    for layer in network.modules():
        if type(layer) in OWN:
            # The very layer, so that nothing else about it (parameters, hooks, who holds it) changes.
            layer.__class__ = SynchronizedBatchNorm
        elif isinstance(layer, _BatchNorm) and not isinstance(layer, SynchronizedBatchNorm):
            left.add(type(layer).__name__)
    return left
