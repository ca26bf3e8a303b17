"""What captures a device's work: CUDA graphs, and what is looked for before one is begun."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Backend(Protocol):
    """What captures work on a device."""

    @property
    def seeding(self) -> Callable[[Callable[[], None]], None] | None:
        """What hears, while work is captured, where the default generators are seeded, or None where that can't be repeated.

        It gets what seeds them for the present iteration, which it is to call then and in each replay.
        """

    def warm(self, work: Callable[[], None]) -> None:
        """Do work as a capture wants it to have been done before."""

    def capture(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        """Return what does the same work on the device again, on the same tensors, with its random streams as then seeded."""


class Cuda:
    """Captures CUDA graphs that share one memory pool.

    Args:
        device: The GPU.
    """

    seeding = None

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
            graph.register_generator_state(_plain(generator))
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


def _plain(generator: torch.Generator) -> torch.Generator:
    """Return a generator that shares its state with another, of no class but torch's own, for a graph takes nothing else."""
    return generator if type(generator) is torch.Generator else generator.graphsafe_get_state()


def backend_of(device: torch.device) -> Backend | None:
    """Return what captures a device's work, or None where nothing does."""
    return Cuda(device) if device.type == "cuda" else None


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
        result = func(*args, **(kwargs or {}))
        source = {"aten::_to_copy": 0, "aten::copy_": 1}.get(func.name())
        if source is not None and args[source].device.type == "cpu" and result.device.type != "cpu":
            self.number += 1
        return result
