"""Iterations on a CPU as graphs: the operators of one, recorded below autograd, are called again with nothing in between."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.autograd.graph import increment_version

from gancore.tools import Run
from gancore_profile.cuda_graphs import Iterations
from gancore_profile.programs import Call, Slot
from gancore_profile.recorded_operators import Reads, Recording
from gancore_profile.recording import NotRepeatable
from gancore_profile.snapshots import state_tensors


def replay_iterations_on_cpu(run: Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    """Return what runs an iteration by calling its recorded operators, once that has proved to compute the same.

    As `replay_iterations` does on a GPU, but what a replay comes to is compared to the last bit with an iteration that runs as
    always.

    Args:
        run: The run, as restored as it is going to be.
        step: What runs an iteration so far.
        tell: Called once it is known whether iterations are replayed, with ``on`` or ``off: <why>``; and again if that changes.
    """
    if run.device.type != "cpu":
        tell(f"off: the run is on {run.device.type.upper()}")
        return step
    if step != run.step:
        tell("off: an accelerator before it runs the iterations in its own way")
        return step
    return Iterations(run, Cpu(run), tell).step


class Cpu:
    """Captures the operators of a run's iterations; a `Backend`.

    Args:
        run: Whose parameters get new gradients in a replay, as they do in an iteration.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._recording: Recording | None = None
        self._streams = _streams_of_python()

    def warm(self, work: Callable[[], None]) -> None:
        """Do work."""
        work()

    def capture(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        """Return what calls the operators of some work again.

        Raises:
            NotRepeatable: They can't stand for the work.
        """
        run = self.run
        recording = self._recording = Recording(generators)
        self._streams = _streams_of_python()
        try:
            with recording, Reads():
                work()
        finally:
            self._recording = None
        self._check_streams()
        self._check_written(recording)
        parameters: list[Any] = [each for player in run.players.values() for each in player.parameters]
        gradients = {number: each.grad for number, each in enumerate(parameters) if each.grad is not None}
        recording.check_let_go([*gradients.values(), *run.losses.values()])
        self._keep_losses(recording)
        made = {number: slot for number, gradient in gradients.items() if (slot := recording.slot(gradient)) is not None}
        return self._replay(recording, parameters, made)

    def seeding(self, seed_now: Callable[[], None]) -> None:
        """Seed the default generators, now and where a replay comes here."""
        self._check_streams()
        seed_now()
        self._streams = _streams_of_python()
        if self._recording is not None:
            self._recording.calls.append(Call(seed_now, (), {}, None, (), keep=True))

    def _check_streams(self) -> None:
        if _streams_of_python() != self._streams:
            raise NotRepeatable("a component draws from the random streams of Python or NumPy, which would be frozen")

    def _check_written(self, recording: Recording) -> None:
        """Check that nothing is written to but the state, which the trial of a replay puts back."""
        state = {tensor.untyped_storage()._cdata for tensor in state_tensors(self.run).values()}
        for tensor, operator in recording.written.values():
            if tensor.untyped_storage()._cdata not in state:
                raise NotRepeatable(f"{operator} changes a tensor that is no part of the run's state")

    def _keep_losses(self, recording: Recording) -> None:
        """Have each replay write its losses to where those of the recorded iteration lie."""
        for loss in self.run.losses.values():
            slot = recording.slot(loss)
            if slot is not None:
                recording.copy_to(loss, slot)

    def _replay(self, recording: Recording, parameters: Sequence[Any], made: Mapping[int, Slot]) -> Callable[[], None]:
        """Return what calls the operators and hands out the gradients that they make, by the numbers of their parameters."""
        places = [parameter.data_ptr() for parameter in parameters]
        operators = recording.program([*made.values()])
        # One whose player has had no turn keeps what it has.
        forgetting = [each for number, each in enumerate(parameters) if each.grad is None or number in made]
        learning = [parameters[number] for number in made]
        written = [tensor for tensor, _ in recording.written.values()]

        def replay() -> None:
            if [parameter.data_ptr() for parameter in parameters] != places:
                raise NotRepeatable("a parameter lies where it has not been recorded")
            for parameter in forgetting:
                parameter.grad = None
            for parameter, gradient in zip(learning, operators(), strict=True):
                parameter.grad = gradient
            # Autograd, below which nothing counts, and whoever looks for state that no checkpoint holds go by these numbers.
            increment_version(written)

        return replay


def _streams_of_python() -> tuple[Any, bytes, int]:
    """Return where the random streams of Python and NumPy stand."""
    state: Any = np.random.get_state()
    return random.getstate(), state[1].tobytes(), state[2]
