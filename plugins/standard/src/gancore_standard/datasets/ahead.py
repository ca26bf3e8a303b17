"""Batches of images in the order of their draws, read ahead by worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import types
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import count
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gancore import GancoreError, Images
from gancore.tools import first_line

MOST_WORKERS = 8
"""Processes that read for one training where nobody says how many."""

_HEEDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Signals that a terminal or a cluster sends to all processes of a training, which saves its state while workers still read."""


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
            batches = _read(self.images, self.places, self.device, self.workers, draw)
            # Held from outside: what is collected together with its loader could no longer tell the workers to end, and these
            # heed no signal. It also ends them before Python waits for them, at its own end.
            self._ending = weakref.finalize(self, batches.close)
            self._batches = _on_device(batches, self.device) if self.device.type == "cuda" else batches
        self._next = draw + 1
        try:
            return next(self._batches)
        except BaseException as error:
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


def _read(
    images: Images, places: Callable[[int], Tensor], device: torch.device, workers: int, first: int
) -> Generator[Tensor, None, None]:
    """Yield the batches from a draw on."""
    with warnings.catch_warnings(), _main_hidden(images):
        # Of more workers than cores, which the user has asked for.
        warnings.simplefilter("ignore")
        loader: DataLoader[Any] = DataLoader(
            _Batches(images),
            batch_sampler=(places(draw).numpy() for draw in count(first)),  # type: ignore[misc]
            num_workers=workers,
            prefetch_factor=2 if workers else None,
            pin_memory=device.type == "cuda",
            multiprocessing_context=_context() if workers else None,
            worker_init_fn=_begin,
            collate_fn=_as_it_is,
            # Without one of its own it would draw from the default one.
            generator=torch.Generator(),
        )
        batches = iter(loader)
    while True:
        try:
            batch = next(batches)
        except (RuntimeError, OSError, EOFError) as error:  # the latter where one dies while it hands over a batch
            raise GancoreError(
                f"A process that reads images has ended ({first_line(error)[:150]}); give it more memory, also in "
                "/dev/shm, or set run.workers lower, or to 0."
            ) from error
        if isinstance(batch, str):
            raise GancoreError(batch)
        yield batch


class _Batches(Dataset[Any]):
    """What a worker reads for the loader: whole batches, or the sentence that says why it can't."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __getitems__(self, places: Any) -> Tensor | str:
        try:
            return self.images.read(torch.from_numpy(places))
        except GancoreError as error:
            return str(error)


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin(_worker: int) -> None:
    """Leave signals to the training, which ends its workers, and end with it where it is killed."""
    training = multiprocessing.parent_process()
    if training is not None:
        threading.Thread(target=_end_with, args=(training,), daemon=True).start()
    for name in _HEEDED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _end_with(training: Any) -> None:
    training.join()
    os._exit(1)


def _context() -> BaseContext:
    """Return how workers begin: never as a copy of a process that may hold a GPU, threads and locks."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@contextmanager
def _main_hidden(images: Images) -> Iterator[None]:
    """Let workers begin without running the user's script, which may not be guarded against that, unless they need it."""
    main = sys.modules["__main__"]
    if type(images).__module__ != "__main__":
        sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _on_device(batches: Iterator[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Yield batches on a GPU, each copied when it is asked for on a stream of its own, beside what the GPU still computes.

    The host mostly asks while the GPU is at the iteration before. No batch is asked for earlier, for one that can't be read
    must not end a training that does not want it.
    """
    copying = torch.cuda.Stream(device)
    for batch in batches:
        with torch.cuda.stream(copying):
            arriving = batch.to(device, non_blocking=True)
        computing = torch.cuda.current_stream(device)
        computing.wait_stream(copying)
        # Its memory belongs to the stream of copies, which would else reuse it while the other still reads.
        arriving.record_stream(computing)
        yield arriving
