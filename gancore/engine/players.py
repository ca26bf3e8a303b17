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
    """A trained network with its heads.

    Args:
        name: The network's recipe label.
        network: The network.
        heads: The discriminator's heads; empty for other players.
        optimizer: Makes the optimizer of some parameters.
        schedules: Schedules of numbers of the optimizer, e.g. of ``lr``.
        where: Names the optimizer for errors.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        heads: Sequence[nn.Module],
        optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
        schedules: Mapping[str, Factor],
        where: str = "the optimizer",
    ) -> None:
        self.name = name
        self.network = network
        self.modules = [network, *heads]
        self.parameters = [p for module in self.modules for p in module.parameters() if p.requires_grad]
        if not self.parameters:
            raise GancoreError(f"{where} has nothing to do, for the {name} has no parameter to train.")
        self.optimizer = optimizer(self.parameters)
        self.where = where
        self.shared = distributed.world_size() > 1
        self._scheduled = [self._scheduled_number(*item) for item in schedules.items()]

    def _scheduled_number(self, name: str, factor: Factor) -> tuple[str, int | None, list[Any], Factor]:
        """Return the key and place of a number in the groups of parameters, what it starts from in each, and its schedule."""
        groups = self.optimizer.param_groups
        if any(name not in scheduled_numbers(group) for group in groups):
            raise GancoreError(f"{self.where} has no number {name!r} that a schedule could multiply in all groups.")
        key, place = scheduled_numbers(groups[0])[name]
        return key, place, [group[key] for group in groups], factor

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
        for key, place, starts, factor in self._scheduled:
            multiplier = factor(iteration)
            for group, start in zip(self.optimizer.param_groups, starts, strict=True):
                if place is not None:
                    others = group[key]
                    group[key] = (*others[:place], start[place] * multiplier, *others[place + 1 :])
                elif isinstance(group[key], Tensor):
                    group[key].fill_(start * multiplier)
                else:
                    group[key] = start * multiplier

    def state(self) -> dict[str, Tensor]:
        """Return the optimizer's tensors, named ``<parameter number>.<what>``.

        Raises:
            GancoreError: It remembers something else, which a checkpoint would forget.
        """
        entries = self.optimizer.state_dict()["state"].items()
        state = {f"{number}.{key}": value for number, entry in entries for key, value in entry.items() if value is not None}
        for name, value in state.items():
            if not isinstance(value, Tensor):
                raise GancoreError(f"{self.where} remembers {name} as {value!r}; only tensors are saved, so keep it as one.")
        return state

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        entries: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            number, key = name.split(".", 1)
            parameter = self.parameters[int(number)]
            # The file holds plain contiguous tensors; a moment has its parameter's memory format.
            if value.shape == parameter.shape:
                value = torch.empty_like(parameter, requires_grad=False).copy_(value)
            entries.setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": entries})


class MovingAverage:
    """Exponential moving average of a network's parameters and buffers; an exact copy before `start`.

    Args:
        network: What is averaged.
        decay: Share of the old average that is kept, per iteration.
        start: Iteration from which it averages.
        schedule: Of the decay, or None.
    """

    def __init__(self, network: nn.Module, *, decay: float, start: int, schedule: Factor | None = None) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.start = start
        self.decay = decay
        self.schedule = schedule
        self._lerp = get_ema_multi_avg_fn(decay)
        mine = dict(self._state(self.network))
        pairs = [(mine[name], tensor) for name, tensor in self._state(network)]
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @staticmethod
    def _state(network: nn.Module) -> list[tuple[str, Tensor]]:
        return [*network.named_parameters(), *network.named_buffers()]

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
        if self.started(iteration) and self._averaged:
            self._lerp([a for a, _ in self._averaged], [b for _, b in self._averaged], 0)
        else:
            for mine, current in self._averaged:
                mine.copy_(current)
        for mine, current in self._copied:
            mine.copy_(current)
