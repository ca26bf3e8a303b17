"""Batches of images in the order of their draws, read ahead by worker processes."""

from __future__ import annotations

import os
import time
import traceback
import weakref
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gancore import Images
from gancore_standard.datasets.reading_processes import read_batches

MOST_WORKERS = 8
"""Processes that read for one training where nobody says how many."""


def workers_here() -> int:
    """Return how many processes should read: the cores that this process has a share of, at most `MOST_WORKERS`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    beside = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, min(MOST_WORKERS, cores // (int(beside) if beside.isdecimal() and int(beside) else 1)))


class Ahead:
    """The images of each draw, (n, C, H, W) uint8 in host memory, or on a GPU that wants them there.

    Which they are depends on the draw alone: workers get places and draw nothing, so that there is no state to save, and
    neither their number nor a resume changes a bit. A draw other than the next one starts the workers anew there.

    Args:
        images: What is read.
        places: Gives the places (n,) of a draw.
        device: Where the images are wanted; those for a GPU are copied to it beside what it computes.
        workers: Processes that read; None for as many as suit the machine.

    Attributes:
        waited: Seconds in which the training has waited for images.
    """

    def __init__(
        self, images: Images, places: Callable[[int], Tensor], device: torch.device, workers: int | None = None
    ) -> None:
        self.images, self.places, self.device = images, places, device
        self.workers = workers_here() if workers is None else workers
        self.waited = 0.0
        self._next = -1
        self._batches: Iterator[Tensor] = iter(())
        self._ending = weakref.finalize(self, str)

    def close(self) -> None:
        """End the workers; the next draw begins others."""
        self._next, self._batches = -1, iter(())
        self._ending()

    def __call__(self, draw: int) -> Tensor:
        """Return the images of a draw.

        Raises:
            GancoreError: One can't be read, or a worker has died.
        """
        started = time.perf_counter()
        if draw != self._next:
            self.close()
            batches = read_batches(self.images, self.places, self.workers, draw)
            # Held from outside: what is collected together with its loader could no longer tell the workers to end, and these
            # heed no signal. It also ends them before Python waits for them, at its own end.
            self._ending = weakref.finalize(self, batches.close)
            self._batches = _on_device(batches, self.device) if self.device.type == "cuda" else batches
        self._next = draw + 1
        try:
            return next(self._batches)
        except BaseException as error:
            self._next = -1
            _let_go(error)
            raise
        finally:
            self.waited += time.perf_counter() - started


def _let_go(error: BaseException) -> None:
    """Forget what the calls that have failed held: the workers.

    They would live as long as the error does; and where that is to the program's end, Python waits for them there, and they for
    it.
    """
    failed: BaseException | None = error
    while failed is not None:
        traceback.clear_frames(failed.__traceback__)
        failed = failed.__cause__ or failed.__context__


def _on_device(batches: Iterator[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield batches on a GPU, each copied when it is asked for on a stream of its own, beside what the GPU still computes.

    The host mostly asks while the GPU is at the iteration before. No batch is asked for earlier, for one that can't be read
    must not end a training that does not want it.
    """
    copying = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copying):
            arriving = batch.pin_memory().to(device, non_blocking=True)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        # Its memory belongs to the stream of copies, which would else reuse it while the other still reads.
        arriving.record_stream(computing)
        yield arriving
