"""What takes part in the comparison with other libraries, and under which conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import attrs
import torch
from torch import Tensor


@attrs.frozen
class Conditions:
    """What is the same for all.

    Attributes:
        network: ``sndcgan`` or ``resnet``.
        width: Multiplies the numbers of maps; 1 is the paper's.
        batch: Real images, and as many fake ones, of a discriminator step.
        discriminator_steps: Discriminator steps per generator step.
        device: Where to compute.
        scratch: A folder for what trainers write.
        accelerators: Names of gancore's accelerators, for its rows that have some.
        cpu_time: Whether to time by the processor.
    """

    network: str
    width: float
    batch: int
    discriminator_steps: int
    device: torch.device
    scratch: Path
    accelerators: tuple[str, ...] = ()
    cpu_time: bool = False


@attrs.frozen
class Contestant:
    """One library's training.

    Attributes:
        step: One step of the generator, with the discriminator steps before it.
        generator: Number of the generator's trained parameters.
        discriminator: Number of the discriminator's.
    """

    step: Callable[[], object]
    generator: int
    discriminator: int


def count(parameters: Iterable[Tensor]) -> int:
    """Return how many numbers are trained."""
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
