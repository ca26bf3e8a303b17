"""Images that are read picture by picture when they are wanted."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from gancore import Images
from gancore_standard.datasets.ahead import Ahead
from gancore_standard.datasets.decoding import Pixels

SMALL = 1 << 30
"""Bytes of pixels up to which a set is held as one array, unless its settings say otherwise."""


class Pictures(Images):
    """Images that are read one by one: a subclass says how, in `picture`, and gets reading by many and reading ahead.

    It is pickled, by what its attributes hold, for each process that reads.
    """

    def picture(self, place: int) -> Pixels:
        """Return the image (C, H, W) uint8 at a place.

        Raises:
            GancoreError: It can't be read.
        """
        raise NotImplementedError

    def read(self, places: Tensor) -> Tensor:
        """Return the images (n, C, H, W) uint8 at places (n,); in the training's own process all cores read.

        Raises:
            GancoreError: One can't be read.
        """
        pixels = np.empty((len(places), *self.shape[1:]), dtype=np.uint8)

        def fill(rows: range) -> None:
            for row in rows:
                pixels[row] = self.picture(wanted[row])

        wanted = places.tolist()
        if get_worker_info() is None and len(wanted) > 1:
            cores = os.cpu_count() or 1
            list(_threads().map(fill, (range(start, len(wanted), cores) for start in range(cores))))
        else:
            fill(range(len(wanted)))
        return torch.from_numpy(pixels)

    def reader(self, places: Callable[[int], Tensor], device: torch.device, workers: int | None) -> Callable[[int], Tensor]:
        """Return what reads the images of a draw, ahead of it."""
        return Ahead(self, places, device, workers)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count())
