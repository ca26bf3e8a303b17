"""The optimizers that a recipe may name, with their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import nn

from gancore.contract import Range, check
from gancore.errors import GancoreError, did_you_mean, listed
from gancore.plan.schedules import SCHEDULES, Factor

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
    """Adam (Kingma and Ba 2015), fused."""
    return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


def sgd(
    parameters: Sequence[nn.Parameter],
    *,
    lr: Positive = 0.1,
    momentum: Decay = 0.9,
    weight_decay: Annotated[float, Range(0)] = 0.0,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum, fused."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True)


def rmsprop(
    parameters: Sequence[nn.Parameter], *, lr: Positive = 5e-5, alpha: Decay = 0.99, eps: Positive = 1e-8
) -> torch.optim.Optimizer:
    """RMSprop, the optimizer of the first Wasserstein GAN."""
    return torch.optim.RMSprop(parameters, lr=lr, alpha=alpha, eps=eps)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": adam, "sgd": sgd, "rmsprop": rmsprop}


def check_optimizer(
    settings: Mapping[str, Any], *, where: str, context: Mapping[str, Any]
) -> tuple[str, dict[str, Any], Factor]:
    """Return an optimizer's name, its checked settings, and its schedule, from a recipe's ``[optimizers.x]`` table.

    Raises:
        GancoreError: An unknown optimizer, schedule or setting, or a value out of range.
    """
    settings = dict(settings)
    name = settings.pop("use", "adam")
    if name not in OPTIMIZERS:
        raise GancoreError(
            f"{where} uses the unknown optimizer {name!r}{did_you_mean(name, OPTIMIZERS)} (known: {listed(OPTIMIZERS)})."
        )
    schedule = settings.pop("schedule", {"use": "constant"})
    if not isinstance(schedule, Mapping) or not isinstance(schedule.get("use"), str):
        raise GancoreError(f'{where}: schedule must be a table such as {{use = "linear"}}, not {schedule!r}.')
    schedule = dict(schedule)
    kind = schedule.pop("use")
    if kind not in SCHEDULES:
        raise GancoreError(
            f"{where} uses the unknown schedule {kind!r}{did_you_mean(kind, SCHEDULES)} (known: {listed(SCHEDULES)})."
        )
    arguments = check(SCHEDULES[kind], schedule, where=f"{where}: schedule {kind!r}", context=context)
    return name, check(OPTIMIZERS[name], settings, where=where), SCHEDULES[kind](**arguments)
