"""Training a small classifier within a score: a function of the images and the settings, on a CPU to the last bit."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
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
    others = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if cuda else []):
            # Not torch.manual_seed: it would also seed every accelerator, whose state would not be restored.
            seed_default(device, seed)
            yield
    finally:
        # What seeds torch's seeds Python's and NumPy's too.
        random.setstate(others[0])
        np.random.set_state(others[1])


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


def cosine(step: int, steps: int) -> float:
    """Return the factor of the learning rate in a step of a cosine schedule, from 1 to 0."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def late_steps(step: int, steps: int) -> float:
    """Return the factor of LDAM-DRW's 200 epochs, spread over `steps`: 5 of warm-up, times 0.01 from 160 and from 180 on."""
    epoch = 200 * step // steps
    return min(1.0, (epoch + 1) / 5) * 0.01 ** ((epoch >= 160) + (epoch >= 180))


def train_classifier(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Callable[[int], tuple[Tensor, Tensor]],
    steps: int,
    *,
    where: str,
    factor: Callable[[int, int], float] = cosine,
) -> None:
    """Train a classifier by its cross entropy, by default with a cosine schedule from the optimizer's learning rate to 0.

    Args:
        model: Maps images (N, C, H, W) in [-1, 1] to logits (N, K).
        optimizer: Of its parameters.
        batch: Step, from 0 -> images (N, C, H, W) in [-1, 1] and labels (N,) int64.
        steps: Number of steps.
        where: Begins the message of an error.
        factor: Step, from 0, and number of steps -> what the learning rate is multiplied by.

    Raises:
        GancoreError: The training diverges.
    """
    start = optimizer.param_groups[0]["lr"]
    loss = torch.zeros(())
    model.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = start * factor(step, steps)
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
