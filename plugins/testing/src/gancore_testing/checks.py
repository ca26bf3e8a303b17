"""What is asked of a component in its host: each check takes the host's table, and the registry that it is read with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
import torch
from gancore_training import Watch
from torch import Tensor

from gancore import GancoreError
from gancore.tools import Registry, Run, merge
from gancore_testing.another_device import AnotherDevice
from gancore_testing.hosting import LABEL, Table, build_host

if TYPE_CHECKING:
    from gancore_training import Unsaved


def steps(run: Run, number: int) -> Run:
    """Run some iterations and return the run."""
    for _ in range(number):
        run.step()
    return run


def tensors_of(run: Run) -> dict[str, Tensor]:
    """Return every tensor of a run that a checkpoint holds, by name."""
    # Core's own tests use this module where no plugin is installed.
    from gancore_training import tensors_of

    return tensors_of(run)


def not_finite(run: Run) -> list[str]:
    """Return the names of losses, parameters and states that are not finite."""
    everything = {**run.losses, **tensors_of(run)}
    return [name for name, value in everything.items() if value.is_floating_point() and not value.isfinite().all()]


def gradients_elsewhere(run: Run) -> list[str]:
    """Take each player's turn alone and return the parameters of others that got a gradient."""
    run.turn = 0
    batch, batches = run.fresh(), _batches(run)
    reached = []
    for player in run.players:
        for other in run.players.values():
            other.zero_grad()
        run.phase(player, batches.get(player, batch))
        modules = {name: module for name, module in run.modules().items() if not name.startswith(("ema", "loss"))}
        modules |= {f"network.{name}": network for name, network in run.networks.items()}
        own = {id(parameter) for parameter in run.players[player].parameters}
        reached += [
            f"{name}.{key} in the turn of the {player}"
            for name, module in modules.items()
            for key, parameter in module.named_parameters()
            if id(parameter) not in own and parameter.grad is not None
        ]
        if not any(parameter.grad is not None for parameter in run.players[player].parameters):
            reached.append(f"nothing of the {player} itself")
    return reached


def _batches(run: Run) -> dict[str, Any]:
    """Return the batch of each player whose turn a loop takes, for the sides that the loop adds; none where it adds none."""
    batches: dict[str, Any] = {}
    if run.plan.loop.cls.adds:
        with patch.object(run, "phase", lambda player, batch, _pieces=1: batches.setdefault(player, batch)):
            run.parts.loop.iteration(run)
    return batches


def bitwise_difference(one: Run, two: Run) -> list[str]:
    """Return the names of tensors of `one` that `two` has otherwise."""
    a, b = tensors_of(one), tensors_of(two)
    return [name for name in a if name not in b or not torch.equal(a[name], b[name])]


class NoSynchronization(Watch):
    """Refuses the operators that make the host wait for the device, on any device."""

    def __init__(self) -> None:
        super().__init__(self._refuse)

    @staticmethod
    def _refuse(_name: str, reason: str) -> None:
        raise AssertionError(reason)


def unsaved_of(run: Run) -> Unsaved:
    """Return what the components of a run keep outside of its tensors."""
    from gancore_training import Unsaved

    return Unsaved(run.parts)


def trains(table: Table, registry: Registry) -> None:
    """Three iterations run, and leave finite losses and a finite state, all of it in tensors that a checkpoint holds.

    Or a batch is refused for its size.
    """
    try:
        run = build_host(table, registry)
        unsaved = unsaved_of(run)
        steps(run, 3)
        unsaved.check()
    except GancoreError as error:
        if table["run"]["batch_size"] > 1 or "run.batch_size" not in str(error):
            raise
        return
    problems = not_finite(run)
    assert not problems, f"not finite after three iterations: {problems}"


def own_gradients(table: Table, registry: Registry) -> None:
    """Gradients reach the player whose turn it is, and nobody else."""
    problems = gradients_elsewhere(build_host(table, registry))
    assert not problems, f"gradients reached {problems}"


def no_synchronization(table: Table, registry: Registry) -> None:
    """The host never waits for the device within an iteration."""
    run = steps(build_host(table, registry), 1)
    with NoSynchronization():
        run.step()


def on_another_device(table: Table, registry: Registry) -> None:
    """Two iterations, generated images and scores are computed where the run is told to compute."""
    with AnotherDevice() as device:
        run = steps(build_host(table, registry, device), 2)
        away = [name for name, tensor in tensors_of(run).items() if tensor.device != device and tensor.ndim]
        assert not away, f"a run on {device} has {away} on the CPU: register them as buffers"
        if run.prior is not None:
            run.generate(run.latent(3, "conformance"))
        if run.plan.metrics:
            from gancore_training import Evaluator

            Evaluator(run)()


def weight_zero(table: Table, registry: Registry) -> None:
    """A loss term of weight 0 is the same as none, bit for bit."""
    try:
        absent = steps(build_host(merge(table, {"losses": {LABEL: False}}), registry), 3)
    except GancoreError as error:
        pytest.skip(f"without it there is nothing to train: {error}")
    zero = steps(build_host(merge(table, {"losses": {LABEL: {"weight": 0.0}}}), registry), 3)
    assert not bitwise_difference(absent, zero)


def keeps_its_state(table: Table, registry: Registry) -> None:
    """All that changes from one iteration to the next lies where a checkpoint finds it."""
    run = steps(build_host(table, registry), 1)
    unsaved = unsaved_of(run)
    steps(run, 2)
    unsaved.check()


def resumes(table: Table, registry: Registry) -> None:
    """Two iterations, resume, and two more are the same as four, bit for bit."""
    from gancore_training import restore

    whole, first, second = (build_host(table, registry) for _ in range(3))
    numbers_of_first, numbers_of_second = unsaved_of(first), unsaved_of(second)
    steps(whole, 4)
    steps(first, 2)
    tensors: dict[str, Any] = {name: tensor.detach().clone().contiguous() for name, tensor in tensors_of(first).items()}
    torch.manual_seed(1)
    restore(second, tensors, first.counters())
    numbers_of_second.restore(numbers_of_first.numbers())
    difference = bitwise_difference(whole, steps(second, 2))
    assert not difference, f"2 iterations, resume, 2 iterations differ from 4 in {difference}: keep the state in buffers"
