"""Optimizers with the settings that GANs are trained with; others are torch's own, by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from gancore import Range

Positive = Annotated[float, Range(0, open_low=True)]
Decay = Annotated[float, Range(0, 1, open_high=True)]


class FusedAdam(torch.optim.Adam):
    """torch's fused Adam to the last bit, which looks up once, and not in every step, which tensors belong together.

    The step of a small GAN takes longer to do that than to compute. Whatever is out of the ordinary (the first step, a restored
    state, a parameter without gradient, several groups, types or devices, hooks, a closure) goes through torch's own step.
    """

    _held: tuple[Any, list[Tensor], list[Tensor], list[Tensor], list[Tensor]] | None = None

    def __init__(self, parameters: Sequence[nn.Parameter], **settings: Any) -> None:
        super().__init__(parameters, fused=True, **settings)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; see `torch.optim.Adam.step`."""
        state, held, (group, *others) = self.state, self._held, self.param_groups
        hooks = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
        hooks = hooks or _global_optimizer_pre_hooks or _global_optimizer_post_hooks
        # A restored state is another table, and one that was put back may lack an entry.
        if held is None or held[0] is not state or len(held[1]) != len(state) or others or hooks or closure is not None:
            return self._ordinary_step(closure)
        _, parameters, means, squares, steps = held
        gradients = [gradient for parameter in parameters if (gradient := parameter.grad) is not None]
        if not len(gradients) == len(parameters) == len(group["params"]):
            return self._ordinary_step(closure)
        beta1, beta2 = group["betas"]
        settings = {name: group[name] for name in ("lr", "weight_decay", "eps", "amsgrad", "maximize")}
        with torch.no_grad():
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(parameters, gradients, means, squares, [], steps, beta1=beta1, beta2=beta2, **settings)
        return None

    # torch wraps a step without this in what calls hooks and tells profilers, which ours does where there is a hook.
    step.hooked = True  # type: ignore[attr-defined]

    def _ordinary_step(self, closure: Callable[[], Any] | None) -> Any:
        """Take torch's own step, and hold on to the tensors that it was about where all are alike."""
        ordinary: Any = torch.optim.Adam.step
        if not getattr(ordinary, "hooked", False):
            ordinary = self.profile_hook_step(ordinary)
        loss = ordinary(self, closure)
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        states = [self.state[parameter] for parameter in parameters if parameter in self.state]
        alike = len(self.param_groups) == len({(parameter.device, parameter.dtype) for parameter in parameters}) == 1
        self._held = None
        if alike and len(states) == len(parameters) == len(self.state) and not self.param_groups[0]["amsgrad"]:
            means, squares, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
            self._held = (self.state, parameters, means, squares, steps)
        return loss


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
    return FusedAdam(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)


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
