"""Copies of a run's state: to put it back, and to tell whether two ways to run an iteration come to the same."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from gancore.tools import Run
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

OF_TORCH = frozenset(vars(nn.Module()))
"""What every module keeps; its tensors are looked at themselves."""


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
        self.plain = {
            (owner, name): (space, name, value, _content(value))
            for owner, space in _attributes(run).items()
            for name, value in space.items()
            if name not in OF_TORCH and isinstance(value, int | float | str | list | deque | dict | set | Tensor | None)
        }
        self.losses = dict(run.losses)
        self.counters = run.counters()
        self.turn = run.turn

    def restore(self) -> None:
        """Put the run back to it."""
        run = self.run
        for space, name, value, content in self.plain.values():
            if isinstance(value, list | deque | dict | set):
                value.clear()
                (value.extend if isinstance(value, list | deque) else value.update)(content)
            space[name] = value
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
        for place in sorted({*self.plain, *after.plain}):
            if place not in self.plain or place not in after.plain or not _same(self.plain[place][3], after.plain[place][3]):
                raise NotRepeatable(f"{place[0]} changes {place[1]}, which is no tensor, in an iteration")


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
    for owner, space in _attributes(run).items():
        tensors.update({f"{owner}/{name}": value.detach() for name, value in space.items() if isinstance(value, Tensor)})
    for player in run.players.values():
        for number, parameter in enumerate(player.parameters):
            for name, value in player.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{player.name}/{number}.{name}"] = value
    return tensors


def _attributes(run: Run) -> dict[str, dict[str, Any]]:
    """Return the attributes of every module, by their name in the run."""
    objects: dict[str, object] = {}
    for owner, module in _owners(run).items():
        objects |= {f"{owner}.{name}" if name else owner: inner for name, inner in module.named_modules()}
    return {name: value.__dict__ for name, value in objects.items() if hasattr(value, "__dict__")}


def _content(value: Any) -> Any:
    """Return what is inside a container, as another one of its kind; anything else as it is."""
    return value.copy() if isinstance(value, list | deque | dict | set) else value


def _same(one: Any, two: Any) -> bool:
    """Return whether two values are equal, or two containers hold equal numbers and texts and the very same objects."""
    if isinstance(one, dict) and isinstance(two, dict):
        return _same([*one.items()], [*two.items()])
    if isinstance(one, list | deque | tuple) and isinstance(two, list | deque | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    return one is two or (isinstance(one, int | float | str | set) and bool(one == two))


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
