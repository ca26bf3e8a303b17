"""A player: a network (with its heads) that is trained, its optimizer, schedule, and moving average."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gancore.parallel import distributed
from gancore.plan import OPTIMIZERS, Factor


class Player:
    """A trained network with its heads.

    Args:
        name: The network's recipe label.
        network: The network.
        heads: The discriminator's heads; empty for other players.
        optimizer: Name of the optimizer and its checked settings.
        factor: The learning-rate schedule.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        heads: Sequence[nn.Module],
        optimizer: tuple[str, Mapping[str, Any]],
        factor: Factor,
    ) -> None:
        self.name = name
        self.network = network
        self.modules = [network, *heads]
        self.parameters = [p for module in self.modules for p in module.parameters() if p.requires_grad]
        self.optimizer = OPTIMIZERS[optimizer[0]](self.parameters, **optimizer[1])
        self.factor = factor
        self._rates = [group["lr"] for group in self.optimizer.param_groups]

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
        distributed.average_gradients(self.parameters)
        self.optimizer.step()
        project = getattr(self.network, "project_", None)
        if project is not None:
            with torch.no_grad():
                project()

    def set_schedules(self, iteration: int) -> None:
        """Set the learning rates that the schedule gives for an iteration."""
        factor = self.factor(iteration)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)
            else:
                group["lr"] = rate * factor

    def state(self) -> dict[str, Tensor]:
        """Return the optimizer's tensors, named ``<parameter number>.<what>``."""
        return {
            f"{number}.{key}": value
            for number, entry in self.optimizer.state_dict()["state"].items()
            for key, value in entry.items()
            if isinstance(value, Tensor)
        }

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
    """

    def __init__(self, network: nn.Module, *, decay: float, start: int) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.start = start
        self._lerp = get_ema_multi_avg_fn(decay)
        mine = dict(self._state(self.network))
        pairs = [(mine[name], tensor) for name, tensor in self._state(network)]
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    @staticmethod
    def _state(network: nn.Module) -> list[tuple[str, Tensor]]:
        return [*network.named_parameters(), *network.named_buffers()]

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
