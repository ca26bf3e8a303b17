"""Optimizers, and schedules of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import nn

from gancore import Factor, Range

Positive = Annotated[float, Range(0, open_low=True)]
Decay = Annotated[float, Range(0, 1, open_high=True)]


def adam(
    parameters: Sequence[nn.Parameter],
    *,
    lr: Positive = 2e-4,
    betas: tuple[Decay, Decay] = (0.5, 0.999),
    eps: Positive = 1e-8,
    weight_decay: Annotated[float, Range(0)] = 0.0,
) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


def sgd(parameters: Sequence[nn.Parameter], *, lr: Positive = 0.1, momentum: Decay = 0.9) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, fused=True)


def constant() -> Factor:
    return lambda _iteration: 1.0


def linear(
    *, iterations: Annotated[int, Range(1)], start: Annotated[int, Range(0)] = 0, floor: Annotated[float, Range(0, 1)] = 0.0
) -> Factor:
    return lambda iteration: min(1.0, max(floor, 1.0 - (iteration - start) / max(1, iterations - start)))


def exponential(*, base: Positive = 0.5, period: Positive) -> Factor:
    return lambda iteration: base ** (iteration / period)


def cosine(*, iterations: Annotated[int, Range(1)]) -> Factor:
    return lambda iteration: 0.5 * (1 + math.cos(math.pi * min(1.0, iteration / iterations)))


def steps(*, at: list[Annotated[int, Range(0)]], factor: Annotated[float, Range(0)] = 0.1) -> Factor:
    return lambda iteration: float(factor ** sum(iteration >= step for step in at))
