"""Training a small classifier within a score: a function of the images and the settings, on a CPU to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gancore import GancoreError
from gancore.tools import seed_default, to_unit

EVALUATION_BATCH = 500


@contextmanager
def own_random_state(device: torch.device, seed: int) -> Iterator[None]:
    """Seed the global random state that weight initialization and dropout draw from, and restore it at the end."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        # Not torch.manual_seed: it would also seed every accelerator, whose state would not be restored.
        seed_default(device, seed)
        yield


def shuffled_epochs(images: int, steps: int, batch_size: int, noise: torch.Generator) -> Tensor:
    """Return which images each step takes, one epoch after another: indices (steps, batch_size) int64 on the CPU.

    Args:
        images: Number of images, at least 1.
        steps: Number of steps.
        batch_size: Images in a step.
        noise: On the CPU, so that the order is the same on every device.
    """
    total = steps * batch_size
    epochs = [torch.randperm(images, generator=noise) for _ in range(-(-total // images))]
    return torch.cat(epochs)[:total].view(steps, batch_size)


def train_classifier(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Callable[[int], tuple[Tensor, Tensor]],
    steps: int,
    *,
    where: str,
) -> None:
    """Train a classifier by its cross entropy, with a cosine schedule from the optimizer's learning rate to 0.

    Args:
        model: Maps images (N, C, H, W) in [-1, 1] to logits (N, K).
        optimizer: Of its parameters.
        batch: Step, from 0 -> images (N, C, H, W) in [-1, 1] and labels (N,) int64.
        steps: Number of steps.
        where: Begins the message of an error.

    Raises:
        GancoreError: The training diverges.
    """
    start = optimizer.param_groups[0]["lr"]
    loss = torch.zeros(())
    model.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = start * 0.5 * (1 + math.cos(math.pi * step / steps))
        x, labels = batch(step)
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if not bool(torch.isfinite(loss)):
        raise GancoreError(f"{where} diverges at lr = {start:g}; set a smaller lr.")


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return a classifier's logits (N, K), in evaluation mode, of images (N, C, H, W) uint8, N at least 1."""
    model.eval()
    return torch.cat([model(to_unit(batch)) for batch in images.split(EVALUATION_BATCH)])
