"""Copies of a run's state: to put it back, and to tell whether two ways to run an iteration come to the same."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gancore.tools import Run
from gancore_profile.python_state import PythonState
from gancore_profile.recording import NotRepeatable

CHANGE = 0.02
"""How far a replayed tensor may lie from the computed one on a GPU, relative to the iteration's change of it, in L2 norm.

Kernels that add in any order make two computations of one iteration differ; on a CPU both are equal to the last bit."""

ROUNDING = 1e-6
"""What is allowed beside that, relative to the tensor's norm: the rounding of its float32 values."""

CHANCE = 4.0
"""What is allowed beside that, times the distance between two computations of the same iteration."""

NOTHING = 1e-5
"""Below this fraction of the greatest first moment that its player's parameters have, by their root mean squares, a parameter's
gradient is but rounding: a bias before batch norm. Adam makes steps of full length of it, in any direction."""

SIZE = 10.0
"""How many times the computed change of such a parameter a replayed one may be: only the size says anything."""


class Snapshot:
    """A copy of a run's state.

    Attributes:
        counters: The run's numbers.
        turn: Turns that its last iteration had.
        losses: Its newest losses.
        tensors: Every tensor that an iteration may change, by name.
        values: A copy of each.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        # The tensors are held, so that no other one can come to lie at the same place.
        self.tensors = state_tensors(run)
        self.values = {name: tensor.clone() for name, tensor in self.tensors.items()}
        optimizers = {f"optimizers.{name}": player.optimizer for name, player in run.players.items()}
        settings = [each for optimizer in optimizers.values() for group in optimizer.param_groups for each in group.values()]
        tensors = [*self.tensors.values(), *(each for each in settings if isinstance(each, Tensor))]
        known = frozenset(tensor.untyped_storage().data_ptr() for tensor in tensors)
        self.python = PythonState({**_objects(run), **optimizers}, known)
        parameters = [parameter for player in run.players.values() for parameter in player.parameters]
        # What an iteration leaves of gradients, the next may look at.
        self.gradients = [(each, each.grad, None if each.grad is None else each.grad.clone()) for each in parameters]
        groups = [group for player in run.players.values() for group in player.optimizer.param_groups]
        self.groups = [(group, {name: (value, _copied(value)) for name, value in group.items()}) for group in groups]
        self.losses = dict(run.losses)
        self.counters = run.counters()
        self.turn = run.turn

    def restore(self) -> None:
        """Put the run back to it."""
        run = self.run
        self.python.restore()
        for group, settings in self.groups:
            group.update({name: _put_back(value, content) for name, (value, content) in settings.items()})
        for parameter, gradient, content in self.gradients:
            parameter.grad = _put_back(gradient, content)
        for name, tensor in state_tensors(run).items():
            # What has not changed is not written: that a tensor is written to says that its owner keeps something there.
            if name in self.values and not torch.equal(tensor, self.values[name]):
                tensor.copy_(self.values[name])
        for player in run.players.values():
            for number, parameter in enumerate(player.parameters):
                if not any(name.startswith(f"optimizer.{player.name}/{number}.") for name in self.values):
                    player.optimizer.state.pop(parameter, None)
        run.losses = dict(self.losses)
        run.turn = self.turn
        for name, number in self.counters.items():
            setattr(run, name, number)

    def check_in_place(self, after: Snapshot) -> None:
        """Check that an iteration changed the state where it lies, and kept none in Python.

        Raises:
            NotRepeatable: It did not.
        """
        ours, theirs = ({name: t.data_ptr() for name, t in state.tensors.items()} for state in (self, after))
        for name in sorted({*ours, *theirs}):
            if ours.get(name) != theirs.get(name):
                raise NotRepeatable(f"an iteration replaces the tensor {name} instead of changing it in place")
        self.python.check()


def check_equal(replayed: Snapshot, wanted: Snapshot, again: Snapshot, before: Snapshot) -> None:
    """Check that a replay came to the state that the iteration itself comes to.

    Args:
        replayed: What the replay came to.
        wanted: What the iteration came to.
        again: What it came to another time; on a CPU the same.
        before: Where all began.

    Raises:
        NotRepeatable: It did not.
    """
    if (wanted.counters, wanted.turn, [*wanted.losses]) != (replayed.counters, replayed.turn, [*replayed.losses]):
        raise NotRepeatable("a replay does not count as the iteration itself does")
    exact = wanted.run.device.type == "cpu"
    noise = frozenset() if exact else rounding_alone(wanted.run)
    for name, value in wanted.values.items():
        if name in noise:
            changes = [(each.values[name] - before.values[name]).double().norm() for each in (replayed, wanted, again)]
            same = bool(changes[0] <= SIZE * max(changes[1:]) + ROUNDING * value.double().norm())
        else:
            same = _close(replayed.values[name], value, again.values[name], before.values[name], exact=exact)
        if not same:
            raise NotRepeatable(f"a replay comes to another {name} than the iteration itself")
    for name, value in wanted.losses.items():
        if not _close(replayed.losses[name], value, again.losses[name], torch.zeros_like(value), exact=exact):
            raise NotRepeatable(f"a replay comes to another loss {name} than the iteration itself")


def rounding_alone(run: Run) -> frozenset[str]:
    """Return the tensors whose values are no more than rounding: parameters whose gradients are, their moments and averages."""
    values = state_tensors(run)
    named = {tensor.data_ptr(): name for name, tensor in values.items() if name.startswith(("network.", "head."))}
    noise: set[str] = set()
    for player in run.players.values():
        states = [player.optimizer.state.get(parameter, {}) for parameter in player.parameters]
        moments = [state["exp_avg"].double().square().mean().sqrt() if "exp_avg" in state else None for state in states]
        greatest = max((moment for moment in moments if moment is not None), default=0.0)
        for number, moment in enumerate(moments):
            if moment is not None and moment < NOTHING * greatest:
                name = named.get(player.parameters[number].data_ptr(), "")
                noise.update(other for other in values if other.startswith(f"optimizer.{player.name}/{number}.exp_avg"))
                noise.update(other for other in values if other == name or _averages(other, name))
    return frozenset(noise)


def _averages(name: str, parameter: str) -> bool:
    """Whether a tensor is the moving average of a parameter."""
    return name.startswith("ema.") and parameter.startswith("network.") and name.split("/")[-1] == parameter.split("/")[-1]


def _owners(run: Run) -> dict[str, nn.Module]:
    named = {f"network.{name}": network for name, network in run.networks.items()}
    return {**named, **{name: module for name, module in run.modules().items() if name not in named}}


def state_tensors(run: Run) -> dict[str, Tensor]:
    """Return every tensor that an iteration may change."""
    tensors: dict[str, Tensor] = {}
    for owner, module in _owners(run).items():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            tensors[f"{owner}/{name}"] = tensor.detach()
    for owner, module in _objects(run).items():
        tensors.update({f"{owner}/{name}": value.detach() for name, value in vars(module).items() if isinstance(value, Tensor)})
    for player in run.players.values():
        for number, parameter in enumerate(player.parameters):
            for name, value in player.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{player.name}/{number}.{name}"] = value
    return tensors


def _objects(run: Run) -> dict[str, nn.Module]:
    """Return every module, by its name in the run."""
    objects: dict[str, nn.Module] = {}
    for owner, module in _owners(run).items():
        objects |= {f"{owner}.{name}" if name else owner: inner for name, inner in module.named_modules()}
    return objects


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _put_back(value: Any, content: Any) -> Any:
    """Return a value with what was in it, where it is a tensor."""
    if isinstance(value, Tensor) and not torch.equal(value, content):
        value.copy_(content)
    return value


def _close(got: Tensor, wanted: Tensor, again: Tensor, before: Tensor, *, exact: bool) -> bool:
    if wanted.shape != got.shape:
        return False
    if exact:
        return torch.equal(wanted, got)
    if not wanted.is_floating_point():
        return torch.equal(wanted, got) or not torch.equal(wanted, again)
    # Where one is no number, neither may the other be.
    if not torch.equal(wanted.isfinite(), got.isfinite()):
        return False
    got, wanted, again, before = (value.double().nan_to_num(0, 0, 0) for value in (got, wanted, again, before))
    chance = (again - wanted).norm()
    return bool((got - wanted).norm() <= CHANGE * (wanted - before).norm() + ROUNDING * wanted.norm() + CHANCE * chance)
