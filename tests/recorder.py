"""A stand-in for a CUDA graph on the CPU: the operators of an iteration, run again on the same memory.

What it shares with a CUDA graph: Python does not run again, so a number that the host passed is that of the capture, and
what the capture made lies where it lay; generators are read as they are seeded when it is replayed; an operator that
hands a value to the host breaks the capture. What it can't show: streams, the memory pool, kernels that can't be captured,
copies between host and device, and kernels that add in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from gancore_training.host_waits import READING
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class Recording(TorchDispatchMode):
    """Keeps every operator with the very tensors that it took and made."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func.name() in READING:
            raise RuntimeError("operation not permitted when stream is capturing")
        assert torch.Tag.inplace_view not in func.tags, f"{func} would be applied twice to its tensor's shape"
        made = func(*args, **kwargs)
        given = {memory(tensor) for tensor in tensors((args, kwargs))}
        fresh = [tensor for tensor in tensors(made) if memory(tensor) not in given]
        # A view of what is there already needs nothing done again.
        if fresh or func._schema.is_mutable or not tensors(made):
            self.calls.append((func, args, kwargs, tensors(made)))
        return made

    @torch.no_grad()
    def replay(self) -> None:
        for func, args, kwargs, made in self.calls:
            given = {memory(tensor) for tensor in tensors((args, kwargs))}
            for old, new in zip(made, tensors(func(*args, **kwargs)), strict=True):
                if memory(old) not in given:
                    old.copy_(new)


class Recorder:
    """A `gancore_profile.capturing.Backend` of such recordings.

    Attributes:
        captures: How many there were.
        replays: How often one was replayed.
    """

    seeding = None

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def warm(self, work: Callable[[], None]) -> None:
        work()

    def capture(self, work: Callable[[], None], generators: Sequence[torch.Generator]) -> Callable[[], None]:
        self.captures += 1
        recording = Recording()
        with recording:
            work()

        def replay() -> None:
            self.replays += 1
            recording.replay()

        return replay
