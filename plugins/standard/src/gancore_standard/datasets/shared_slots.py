"""Memory that processes share, through which batches go from those that read them to the one that trains."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gancore import GancoreError

MOST_BATCHES = 8
"""Batches that one slot takes at most. More would make the first one late, and spare hardly anything."""

MOST_BYTES = 128 << 20
"""Memory that slots of more than one batch take at most; and no more than half of what is free."""

_SHARED = Path("/dev/shm")
"""Where Linux keeps the memory, and often has little of it in a container."""

Pixels = npt.NDArray[np.uint8]


class Slots:
    """Slots that one process fills with batches which another one uses where they lie, so that only a number travels.

    A slot is free again once nothing refers to its batches any more: they stay as they are for as long as somebody keeps one,
    or a view of it. It is one block of memory, of which nothing stays behind, however the processes end.

    Args:
        number: How many slots.
        batch: The shape of a batch, (n, C, H, W).

    Attributes:
        memory: What the slots hold (number, batches, n, C, H, W) uint8, for the processes that fill them.
        batches: How many batches each takes.

    Raises:
        GancoreError: No memory can be shared even for one batch each.
    """

    def __init__(self, number: int, batch: torch.Size) -> None:
        size = number * max(1, batch.numel())
        free = shutil.disk_usage(_SHARED).free if _SHARED.is_dir() else None
        most = MOST_BYTES if free is None else min(MOST_BYTES, free // 2)
        self.batches = max(1, min(MOST_BATCHES, most // size))
        try:
            self.memory = _share(torch.Size((number, self.batches, *batch)), free)
        except RuntimeError as error:
            raise GancoreError(
                f"The processes that read images need {size / 1e6:.0f} MB of memory to share ({_SHARED}), more than is free; "
                "make it larger, or set run.workers lower, or to 0."
            ) from error
        self._pixels = self.memory.numpy()
        self._lent: list[Callable[[], Any]] = [lambda: None] * number

    def lend(self) -> tuple[int, Pixels] | None:
        """Return the number of a free slot and what it holds, if one is free. It is taken for as long as that is kept."""
        for slot, lent in enumerate(self._lent):
            if lent() is None:
                pixels: Pixels = self._pixels[slot]
                self._lent[slot] = weakref.ref(pixels)
                return slot, pixels
        return None


def _share(shape: torch.Size, free: int | None) -> Tensor:
    if free is not None and shape.numel() > free:
        # torch would notice, too, but leave a name behind.
        raise RuntimeError(f"{free} bytes are free")
    shared: Tensor = torch.empty(shape, dtype=torch.uint8).share_memory_()
    return shared
