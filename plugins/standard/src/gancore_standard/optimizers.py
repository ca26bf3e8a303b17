"""Optimizers with the settings that GANs are trained with; others are torch's own, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import nn

from gancore import Range

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
    """Adam (Kingma and Ba 2015), fused, with the rate and the first moment's decay of DCGAN (Radford et al. 2016, Sec. 4).

    Args:
        parameters: What is trained.
        lr: Learning rate.
        betas: Decay of the running means of the gradient and of its square.
        eps: Added to the root of the latter.
        weight_decay: Added to the gradient, times the parameter.
    """
    return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)


def sgd(
    parameters: Sequence[nn.Parameter],
    *,
    lr: Positive = 0.1,
    momentum: Decay = 0.9,
    weight_decay: Annotated[float, Range(0)] = 0.0,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum, fused.

    Args:
        parameters: What is trained.
        lr: Learning rate.
        momentum: Share of the last step that goes into the next.
        weight_decay: Added to the gradient, times the parameter.
        nesterov: Look a step ahead.
    """
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov, fused=True)


def rmsprop(
    parameters: Sequence[nn.Parameter], *, lr: Positive = 5e-5, alpha: Decay = 0.99, eps: Positive = 1e-8
) -> torch.optim.Optimizer:
    """RMSprop with the rate of the first Wasserstein GAN (Arjovsky et al. 2017, Alg. 1).

    Args:
        parameters: What is trained.
        lr: Learning rate.
        alpha: Decay of the running mean of the squared gradient.
        eps: Added to its root.
    """
    return torch.optim.RMSprop(parameters, lr=lr, alpha=alpha, eps=eps)
