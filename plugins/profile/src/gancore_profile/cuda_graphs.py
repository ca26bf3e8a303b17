"""Iterations as graphs: the device's part of one is captured once and replayed, where that proves to compute the same."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gancore import GancoreError
from gancore.tools import Run, Watch, distributed
from gancore_profile.recording import NotRepeatable, Tape

WARM = 3
"""Iterations of a kind that run as always before one is captured: libraries choose their kernels, optimizers make state."""

CHANGE = 0.02
"""How far a replayed tensor may lie from the computed one on a GPU, as a share of the iteration's change of it, in L2 norm.

Kernels that add in any order make two computations of one iteration differ; on a CPU both are equal to the last bit."""

ROUNDING = 1e-6
"""What is allowed beside that, as a share of the tensor's norm: the rounding of its float32 values."""

CHANCE = 4.0
"""What is allowed beside that, times the distance between two computations of the same iteration."""

Kind = tuple[frozenset[str], bool]
"""What the host decides of an iteration: the active terms, and whether the moving average averages yet."""


class Backend(Protocol):
    """What captures work on a device."""

    def warm(self, work: Callable[[], None]) -> None:
        """Do work as a capture wants it to have been done before."""

    def capture(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        """Return what does the work's part on the device again, on the same tensors, with the generators as then seeded."""


class Cuda:
    """Captures CUDA graphs that share one memory pool.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm(self, work: Callable[[], None]) -> None:
        """Do work on the stream of the captures."""
        with self._aside():
            work()

    def capture(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        """Return a captured graph's replay."""
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        torch.cuda.synchronize(self.device)
        with self._aside():
            graph.capture_begin(pool=self.pool)
            try:
                work()
            except BaseException:
                # What broke the capture is worth telling, and not that it was broken off.
                with contextlib.suppress(RuntimeError):
                    graph.capture_end()
                raise
            graph.capture_end()
        return graph.replay

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        with torch.cuda.device(self.device):
            present = torch.cuda.current_stream(self.device)
            self.stream.wait_stream(present)
            try:
                with torch.cuda.stream(self.stream):
                    yield
            finally:
                # After an error, too: what was begun must be over before the state is put back.
                present.wait_stream(self.stream)


def stepper(run: Run, tell: Callable[[str], None]) -> Callable[[], None]:
    """Return what runs one iteration of a run: its `step`, or replayed graphs where the recipe asks for them.

    Args:
        run: The run, as restored as it is going to be.
        tell: Called once it is known whether iterations are replayed, with ``on`` or ``off: <why>``; and again if that changes.
    """
    if not run.recipe.run.cuda_graph:
        return run.step
    if run.device.type != "cuda":
        tell(f"off: there are none on the {run.device.type.upper()}")
        return run.step
    return Iterations(run, Cuda(run.device), tell).step


def refusal(run: Run) -> str | None:
    """Return why a run's iterations can't be graphs, as far as can be told before one; or None."""
    if distributed.world_size() > 1:
        return "several processes exchange tensors in every iteration"
    if not run.plan.loop.captures:
        return f"{type(run.plan.loop).__name__} does not say that its iterations are all alike (captures = True)"
    for name, (kind, _, _) in run.plan.optimizers.items():
        if kind not in ("adam", "sgd"):
            return f"optimizers.{name} uses {kind}, whose learning rate a graph would freeze"
    if any(stream.store.images.device.type != run.device.type for stream in (run.stream, *run.sources.values())):
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


class HostCopies(TorchDispatchMode):
    """Counts the copies from the host to another device inside the ``with``; the tape's indices are among them.

    A capture would break at one, or hold its source for ever; better not to begin it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.number = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator."""
        made = func(*args, **(kwargs or {}))
        source = {"aten::_to_copy": 0, "aten::copy_": 1}.get(func.name())
        if source is not None and args[source].device.type == "cpu" and made.device.type != "cpu":
            self.number += 1
        return made


class Iterations:
    """Runs a run's iterations: each kind as always at first, then as a graph; after any doubt all of them as always.

    Args:
        run: The run; whoever restores it later makes a new one of these.
        backend: What captures.
        tell: See `stepper`.
        warm: Iterations of a kind before it is captured, at least 1.

    Attributes:
        off: Why no iteration is replayed, once that is so.
    """

    def __init__(self, run: Run, backend: Backend, tell: Callable[[str], None], *, warm: int = WARM) -> None:
        self.run = run
        self.backend = backend
        self.tell = tell
        self.warm = warm
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
            run.step()
            return
        kind = run.plan.active(run.iteration), run.average is not None and run.average.started(run.iteration)
        if kind in self._proven:
            self._graphs[kind]()
            return
        self._seen[kind] = self._seen.get(kind, 0) + 1
        if self._seen[kind] <= self.warm:
            self.backend.warm(run.step)
            return
        before: _Snapshot | None = None
        captured = kind in self._graphs
        try:
            before = _Snapshot(run)
            if captured:
                self._prove(self._graphs[kind], before)
            else:
                self._graphs[kind] = self._capture(before)
        except Exception as error:
            # Whatever it is, the iteration runs without a graph; where it is the recipe's fault, that tells so again.
            try:
                if before is not None:
                    before.restore()
            except RuntimeError as broken:
                raise GancoreError(
                    f"the GPU can't go on after a failed capture ({_shown(broken)}); --resume it with run.cuda_graph = false."
                ) from broken
            self._give_up(_shown(error))
            captured = False
        if not captured:
            run.step()
            return
        self._proven.add(kind)
        if len(self._proven) == 1:
            self.tell("on")

    def _give_up(self, reason: str) -> None:
        self.off = reason
        self._graphs.clear()
        self._proven.clear()
        self.tell(f"off: {reason}")

    def _capture(self, before: _Snapshot) -> _Replay:
        """Capture the present iteration, and leave the run before it."""
        run, tape = self.run, Tape(self.run.device)
        waits: list[str] = []
        copies = HostCopies()

        def recorded() -> None:
            with Watch(lambda _name, reason: waits.append(reason)), copies, tape.around(run):
                run.take_turns()

        _write(run, tape)
        self.backend.warm(recorded)
        after = _Snapshot(run)
        if waits:
            raise NotRepeatable(waits[0])
        if copies.number > tape.inputs:
            raise NotRepeatable("a part copies a tensor from the host to the device (torch.tensor), which a graph would freeze")
        if tape.default_used:
            raise NotRepeatable("a part draws from the default generator (dropout), which a graph can't seed for each turn")
        before.check_kept(after)
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
        return _Replay(run, tape, replay, losses, {**gained, "iteration": 1}, after.turn)

    def _prove(self, replay: _Replay, before: _Snapshot) -> None:
        """Run an iteration as always and by a replay.

        Not the one that was captured: what a graph holds of that one must show.

        Raises:
            NotRepeatable: They differ.
        """
        expected = [before]
        # Twice on a GPU: what an iteration leaves to chance (a bias whose gradient is nothing but rounding) shows between them.
        for _ in range(1 if self.run.device.type == "cpu" else 2):
            self.backend.warm(self.run.step)
            expected.append(_Snapshot(self.run))
            before.restore()
        replay()
        check_equal(_Snapshot(self.run), expected[1], expected[-1], before)


@attrs.frozen
class _Replay:
    """A captured iteration."""

    run: Run
    tape: Tape
    replay: Callable[[], None]
    losses: Mapping[str, Tensor]
    gained: Mapping[str, int]
    turns: int

    def __call__(self) -> None:
        """Do what an iteration does on the host, then replay its part on the device."""
        run = self.run
        _write(run, self.tape)
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


# -- the state of a run -------------------------------------------------------------------------------------------------


def _owners(run: Run) -> dict[str, nn.Module]:
    named = {f"network.{name}": network for name, network in run.networks.items()}
    return {**named, **{name: module for name, module in run.modules().items() if name not in named}}


def _tensors(run: Run) -> dict[str, Tensor]:
    """Return every tensor that an iteration may change."""
    found: dict[str, Tensor] = {}
    for owner, module in _owners(run).items():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            found[f"{owner}/{name}"] = tensor.detach()
    for player in run.players.values():
        for number, parameter in enumerate(player.parameters):
            for name, value in player.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    found[f"optimizer.{player.name}/{number}.{name}"] = value
    return found


def _plain(run: Run) -> dict[tuple[str, str], tuple[dict[str, Any], Any]]:
    """Return every number, text and flag that a part keeps in Python: (part, name) -> where it lies, and what it is."""
    parts: dict[str, object] = {"loop": run.plan.loop}
    for owner, module in _owners(run).items():
        parts |= {f"{owner}.{name}" if name else owner: part for name, part in module.named_modules()}
    return {
        (part, name): (owner.__dict__, value)
        for part, owner in parts.items()
        for name, value in getattr(owner, "__dict__", {}).items()
        if value is None or isinstance(value, int | float | str)
    }


class _Snapshot:
    """A copy of a run's state."""

    def __init__(self, run: Run) -> None:
        self.run = run
        # Kept, so that no other tensor can come to lie at the same place.
        self.tensors = _tensors(run)
        self.values = {name: tensor.clone() for name, tensor in self.tensors.items()}
        self.plain = _plain(run)
        self.losses = dict(run.losses)
        self.counters = run.counters()
        self.turn = run.turn

    def restore(self) -> None:
        """Put the run back to it."""
        run = self.run
        for name, tensor in _tensors(run).items():
            if name in self.values:
                tensor.copy_(self.values[name])
        for player in run.players.values():
            for number, parameter in enumerate(player.parameters):
                if not any(name.startswith(f"optimizer.{player.name}/{number}.") for name in self.values):
                    player.optimizer.state.pop(parameter, None)
        for (_, name), (place, value) in self.plain.items():
            place[name] = value
        run.losses = dict(self.losses)
        run.turn = self.turn
        for name, number in self.counters.items():
            setattr(run, name, number)

    def check_kept(self, after: _Snapshot) -> None:
        """Check that an iteration changed the state where it lies, and kept none in Python.

        Raises:
            NotRepeatable: It did not.
        """
        ours, theirs = ({name: t.data_ptr() for name, t in state.tensors.items()} for state in (self, after))
        for name in sorted({*ours, *theirs}):
            if ours.get(name) != theirs.get(name):
                raise NotRepeatable(f"an iteration replaces the tensor {name} instead of changing it in place")
        for place in sorted({*self.plain, *after.plain}):
            if place not in self.plain or place not in after.plain or self.plain[place][1] != after.plain[place][1]:
                raise NotRepeatable(f"{place[0]} changes {place[1]}, which is no tensor, in an iteration")


def check_equal(replayed: _Snapshot, wanted: _Snapshot, again: _Snapshot, before: _Snapshot) -> None:
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
    for name, value in wanted.values.items():
        if not _close(replayed.values[name], value, again.values[name], before.values[name], exact=exact):
            raise NotRepeatable(f"a replay comes to another {name} than the iteration itself")
    for name, value in wanted.losses.items():
        if not _close(replayed.losses[name], value, again.losses[name], torch.zeros_like(value), exact=exact):
            raise NotRepeatable(f"a replay comes to another loss {name} than the iteration itself")


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
