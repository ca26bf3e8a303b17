"""A player: a network (with its heads) that is trained, its optimizer, schedule, and moving average."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gancore.contract import Factor
from gancore.errors import GancoreError
from gancore.parallel import collectives, distributed
from gancore.plan import scheduled_numbers


class Player:
    """A trained network with its heads, and the loss terms whose own parameters are trained with it.

    Attributes:
        weights: Parameters of the network and its heads.
        parameters: All that its optimizer changes: those, and its terms' own.
        scheduled: Numbers of its optimizer that schedules set: group, key, place in a pair, value at the start, schedule.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        heads: Sequence[nn.Module],
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        schedules: Mapping[str, Factor],
        where: str = "the optimizer",
        terms: Sequence[nn.Module] = (),
    ) -> None:
        self.name, self.network = name, network
        self.modules = [network, *heads]
        self.weights, own = (
            [p for module in modules for p in module.parameters() if p.requires_grad] for modules in (self.modules, terms)
        )
        self.parameters = [*self.weights, *own]
        if not self.parameters:
            raise GancoreError(f"{where} has nothing to do, for the {name} has no parameter to train.")
        self.optimizer = optimizer(self.parameters)
        self.where, self.shared = where, distributed.world_size() > 1
        groups = range(len(self.optimizer.param_groups))
        self.scheduled = [(group, *self._number(group, name), factor) for name, factor in schedules.items() for group in groups]

    def _number(self, group: int, name: str) -> tuple[str, int | None, Any]:
        """Return the key and place of a number in a group of parameters, and what stands there at the start."""
        settings = self.optimizer.param_groups[group]
        if name not in scheduled_numbers(settings):
            raise GancoreError(f"{self.where} has no number {name!r} that a schedule could multiply in all groups.")
        key, place = scheduled_numbers(settings)[name]
        return key, place, settings[key]

    def train(self, mode: bool = True) -> None:
        """Set training or evaluation mode of the network and its heads."""
        for module in self.modules:
            module.train(mode)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Average the gradients over processes and take one optimizer step."""
        if self.shared:
            collectives.average_gradients(self.parameters)
        self.optimizer.step()
        project = getattr(self.network, "project_", None)
        if project is not None:
            with torch.no_grad():
                project()

    def set_schedules(self, iteration: int) -> None:
        """Set the learning rates, and whatever else has a schedule, for an iteration."""
        for group, key, place, start, factor in self.scheduled:
            settings = self.optimizer.param_groups[group]
            if place is not None:
                others = settings[key]
                settings[key] = (*others[:place], start[place] * factor(iteration), *others[place + 1 :])
            elif isinstance(settings[key], Tensor):
                settings[key].fill_(start * factor(iteration))
            else:
                settings[key] = start * factor(iteration)


class MovingAverage:
    """Exponential moving average of a network's state, without what that leaves out; a copy before the iteration `start`.

    `decay` is the share of the old average that is kept, per iteration; `schedule` multiplies it.
    """

    def __init__(self, network: nn.Module, decay: float, start: int, schedule: Factor | None = None) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.start, self.decay, self.schedule = start, decay, schedule
        self._lerp = get_ema_multi_avg_fn(decay)
        states = ([*module.parameters(), *module.buffers()] for module in (self.network, network))
        own = {id(getattr(layer, name)) for layer in network.modules() for name in layer._non_persistent_buffers_set}
        pairs = [pair for pair in zip(*states, strict=True) if id(pair[1]) not in own]
        pairs.sort(key=lambda pair: not pair[0].is_floating_point())
        self._own, self._current = [mine for mine, _ in pairs], [current for _, current in pairs]
        self._averaged = sum(mine.is_floating_point() for mine in self._own)

    def set_schedules(self, iteration: int) -> None:
        """Set the decay for an iteration."""
        if self.schedule is not None:
            self._lerp = get_ema_multi_avg_fn(self.decay * self.schedule(iteration))

    def started(self, iteration: int) -> bool:
        """Return whether it averages in an iteration, instead of copying."""
        return int(iteration) >= self.start

    @torch.no_grad()
    def update(self, iteration: int) -> None:
        """Take in the network's present state."""
        first = self._averaged if self.started(iteration) else 0
        if first:
            self._lerp(self._own[:first], self._current[:first], 0)
        if self._own[first:]:
            torch._foreach_copy_(self._own[first:], self._current[first:])
