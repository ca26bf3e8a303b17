"""Iterations as graphs: the device's part of one is captured once and replayed, where that proves to compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from gancore_training import Watch
from torch import Tensor

from gancore import GancoreError
from gancore.tools import Run, distributed
from gancore_profile.capturing import Backend, HostCopies, backend_of
from gancore_profile.recording import NotRepeatable, Tape
from gancore_profile.snapshots import Snapshot, check_equal

WARM = 3
"""Iterations of a kind that run as always before one is captured: libraries choose their kernels, optimizers make state."""

SETTLED = WARM + 2
"""Iterations of a kind after which it is replayed: one more is captured, and one proves it."""

RATES_ON_DEVICE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)
"""Optimizers that read a learning rate from a tensor on the device."""

Kind = tuple[frozenset[str], bool]
"""What the host decides of an iteration: the active terms, and whether the moving average averages yet."""


def replay_iterations(run: Run, step: Callable[[], None], tell: Callable[[str], None]) -> Callable[[], None]:
    """Return what runs an iteration by replaying a CUDA graph of it, once one has proved to compute the same.

    An iteration of each kind is recorded, captured, and then compared with one that runs as always. Whatever can't be captured
    or repeated goes on as always, and is told with the reason.

    Args:
        run: The run, as restored as it is going to be.
        step: What runs an iteration so far.
        tell: Called once it is known whether iterations are replayed, with ``on`` or ``off: <why>``; and again if that changes.
    """
    backend = backend_of(run.device)
    if backend is None:
        tell(f"off: there are none on the {run.device.type.upper()}")
        return step
    if step != run.step:
        tell("off: an accelerator before it runs the iterations in its own way")
        return step
    return Iterations(run, backend, tell).step


def refusal(run: Run) -> str | None:
    """Return why a run's iterations can't be graphs, as far as can be told before one; or None."""
    if distributed.world_size() > 1:
        return "several processes exchange tensors in every iteration"
    for name, player in run.players.items():
        if not isinstance(player.optimizer, RATES_ON_DEVICE):
            return f"optimizers.{name} is {type(player.optimizer).__name__}, whose learning rate a graph would freeze"
        if run.device.type == "cpu" and not all(group.get("fused") for group in player.optimizer.param_groups):
            return f"optimizers.{name} reads its learning rate in Python, which a graph would freeze (unless fused = true)"
    if "ema.decay" in run.plan.schedules:
        return "the decay of [ema] has a schedule, which a graph would freeze"
    streams = (run.batches.stream, *run.batches.sources.values())
    if any(stream.images.device.type != run.device.type for stream in streams):
        return "the images don't fit into the device's memory"
    return None


def keep_rates_on_device(optimizer: torch.optim.Optimizer) -> None:
    """Keep the learning rates in tensors, which a graph reads anew; float32 on a GPU, whose kernels take nothing else."""
    for group in optimizer.param_groups:
        device = group["params"][0].device
        kind = torch.float64 if device.type == "cpu" else torch.float32
        group["lr"] = torch.tensor(group["lr"], dtype=kind, device=device)
        if device.type != "cpu" and "capturable" in group:
            group["capturable"] = True
    # The iterations before a capture are no mistake to warn of.
    optimizer._warned_capturable_if_run_uncaptured = True


def frozen_numbers(run: Run) -> dict[str, Any]:
    """Return what the optimizers read on the host, by place: settings of their groups, and of those on the device, where."""
    return {
        f"{key} of optimizers.{name}": [_fixed(group[key]) for group in player.optimizer.param_groups]
        for name, player in run.players.items()
        for key in player.optimizer.param_groups[0]
        if key != "params"
    }


def _fixed(value: Any) -> Any:
    return ("at", value.data_ptr()) if isinstance(value, Tensor) else value


class Iterations:
    """Runs a run's iterations: each kind as always at first, then as a graph; after any doubt all of them as always.

    Args:
        run: The run; whoever restores it later makes a new one of these.
        backend: What captures.
        tell: See `replay_iterations`.
        warm: Iterations of a kind before it is captured, at least 1; `WARM` by default.

    Attributes:
        off: Why no iteration is replayed, once that is so.
    """

    def __init__(self, run: Run, backend: Backend, tell: Callable[[str], None], *, warm: int | None = None) -> None:
        self.run = run
        self.backend = backend
        self.tell = tell
        self._always = run.step
        self.warm = WARM if warm is None else warm
        self.off: str | None = None
        self._graphs: dict[Kind, _Replay] = {}
        self._proven: set[Kind] = set()
        self._seen: dict[Kind, int] = {}
        reason = refusal(run)
        if reason is not None:
            self._give_up(reason)
            return
        for player in run.players.values():
            keep_rates_on_device(player.optimizer)

    def step(self) -> None:
        """Run one iteration.

        Raises:
            GancoreError: What an iteration raises; or a capture failed so badly that the device can't go on.
        """
        run = self.run
        if self.off is not None:
            self._always()
            return
        kind = run.plan.active(run.iteration), run.average is not None and run.average.started(run.iteration)
        if kind in self._proven:
            self._replay(kind)
            return
        self._seen[kind] = self._seen.get(kind, 0) + 1
        if self._seen[kind] <= self.warm:
            self.backend.warm(self._always)
        elif self._try(kind):
            self._proven.add(kind)
            if len(self._proven) == 1:
                self.tell("on")
        else:
            self._always()

    def _replay(self, kind: Kind) -> None:
        try:
            self._graphs[kind]()
        except NotRepeatable as error:
            # Nothing has been replayed yet, so nothing has to be put back.
            self._give_up(str(error))
            self._always()

    def _try(self, kind: Kind) -> bool:
        """Capture the present iteration, or, where one is captured, run it by a proven replay; say whether it has been run."""
        before: Snapshot | None = None
        try:
            before = Snapshot(self.run)
            if kind in self._graphs:
                self._prove(self._graphs[kind], before)
                return True
            self._graphs[kind] = self._capture(before)
        except Exception as error:
            # Whatever it is, the iteration runs without a graph; where it is the recipe's fault, that tells so again.
            try:
                if before is not None:
                    before.restore()
            except RuntimeError as broken:
                raise GancoreError(
                    f"the run can't go on after a failed capture ({_shown(broken)}); take graphs out of run.accelerate, and "
                    "--resume."
                ) from broken
            self._give_up(_shown(error))
        return False

    def _give_up(self, reason: str) -> None:
        self.off = reason
        self._graphs.clear()
        self._proven.clear()
        self.tell(f"off: {reason}")

    def _capture(self, before: Snapshot) -> _Replay:
        """Capture the present iteration, and leave the run before it."""
        run, tape = self.run, Tape(self.run.device, self.backend.seeding)
        waits: list[str] = []
        copies = HostCopies()

        def recorded() -> None:
            with Watch(lambda _name, reason: waits.append(reason)), copies, tape.around(run):
                run.take_turns()

        _write(run, tape)
        self.backend.warm(recorded)
        after = Snapshot(run)
        if waits:
            raise NotRepeatable(waits[0])
        if copies.number > tape.inputs:
            raise NotRepeatable("a component copies a tensor from the host to the device (torch.tensor), which would be frozen")
        if tape.default_used and self.backend.seeding is None:
            raise NotRepeatable("a component draws from the default generator (dropout), which can't be seeded for each turn")
        before.check_in_place(after)
        before.restore()

        def played() -> None:
            with tape.around(run):
                run.take_turns()

        run.losses = {}
        _write(run, tape)
        replay = self.backend.capture(played, tape.generators)
        losses = run.losses
        before.restore()
        gained = {name: after.counters[name] - value for name, value in before.counters.items()}
        return _Replay(run, tape, replay, losses, {**gained, "iteration": 1}, after.turn, frozen_numbers(run))

    def _prove(self, replay: _Replay, before: Snapshot) -> None:
        """Run an iteration as always and by a replay.

        Not the one that was captured: what a graph holds of that one must show.

        Raises:
            NotRepeatable: They differ.
        """
        expected = [before]
        # Twice on a GPU: what an iteration leaves to chance (a bias whose gradient is nothing but rounding) shows between them.
        for _ in range(1 if self.run.device.type == "cpu" else 2):
            self.backend.warm(self._always)
            expected.append(Snapshot(self.run))
            before.restore()
        replay()
        check_equal(Snapshot(self.run), expected[1], expected[-1], before)


@attrs.frozen
class _Replay:
    """A captured iteration."""

    run: Run
    tape: Tape
    replay: Callable[[], None]
    losses: Mapping[str, Tensor]
    gained: Mapping[str, int]
    turns: int
    numbers: Mapping[str, Any]

    def __call__(self) -> None:
        """Do what an iteration does on the host, then replay its work on the device.

        Raises:
            NotRepeatable: A schedule has changed a number that the graph holds; nothing is replayed then.
        """
        run = self.run
        _write(run, self.tape)
        for place, value in frozen_numbers(run).items():
            if value != self.numbers.get(place):
                raise NotRepeatable(f"{place} changes, a number that a graph would freeze")
        self.replay()
        # The next replay overwrites its losses, and in a shared pool another graph's may, too.
        run.losses = {**run.losses, **{name: loss.clone() for name, loss in self.losses.items()}}
        run.turn = self.turns
        for name, value in self.gained.items():
            setattr(run, name, getattr(run, name) + value)


def _write(run: Run, tape: Tape) -> None:
    """Write what differs between iterations to where a graph reads it."""
    run.set_schedules()
    tape.write(run.counters())


def _shown(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, NotRepeatable | GancoreError):
        return text
    return f"{type(error).__name__}: {text[:200]}"
