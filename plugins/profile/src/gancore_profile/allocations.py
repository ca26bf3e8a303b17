"""How much memory operators' results take at once, on a device without counters of its own."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Allocations(TorchDispatchMode):
    """Follows the memory of what operators return inside the ``with``, until it is freed.

    What an operator allocates for itself and frees before it returns is not seen.

    Attributes:
        peak: Most bytes that were in use at one moment, beside what was there before.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator, and note what it returns."""
        taken = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                # A view, or a result in place, takes no memory of its own.
                if storage._cdata not in taken | self._known:
                    self._known.add(storage._cdata)
                    self._now += storage.nbytes()
                    self.peak = max(self.peak, self._now)
                    weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes()).atexit = False
        return out

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size
