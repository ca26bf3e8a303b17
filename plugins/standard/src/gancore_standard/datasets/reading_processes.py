"""Processes that read batches for a training, into memory that they share with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import types
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import chain, count, repeat
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gancore import GancoreError, Images
from gancore.tools import first_line
from gancore_standard.datasets.shared_slots import Pixels, Slots

ASKED = 2
"""Requests that each process has before it, so that it need not wait for the training."""

_SPARE = 2
"""Slots beside those of all requests: the training may still use the last batch of one while it makes the next."""

_HEEDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Signals that a terminal or a cluster sends to all processes of a training, which saves its state while workers still read."""

Request = tuple[int | None, list[Any]]
"""The slot for the images, if one was free, and the places of each batch (n,)."""

Answer = int | Tensor | None
"""How many images of a batch are in the slot; or the images, if it has no room for them; or nothing, if they can't be read."""


def read_batches(images: Images, places: Callable[[int], Tensor], workers: int, first: int) -> Generator[Tensor, None, None]:
    """Yield the images (n, C, H, W) uint8 of a draw, those at ``places(draw)`` (n,), and of each after it.

    Args:
        images: What is read.
        places: Gives the places of a draw.
        workers: Processes that read.
        first: The draw to begin with.

    Raises:
        GancoreError: An image can't be read, or a worker has died.
    """
    slots = Slots(workers * ASKED + _SPARE, torch.Size((len(places(first)), *images.shape[1:]))) if workers else None
    lent: deque[Pixels | None] = deque()
    read = _Batches(images, None if slots is None else slots.memory)
    replies = _replies(read, _requests(slots, lent, places, workers, first), workers)
    draws = count(first)
    while True:
        try:
            answers = next(replies)
        except (RuntimeError, OSError, EOFError) as error:  # the latter where one dies while it answers
            raise GancoreError(
                f"A process that reads images has ended ({first_line(error)[:150]}); give it more memory, also in "
                "/dev/shm, or set run.workers lower, or to 0."
            ) from error
        pixels = lent.popleft()
        slot = torch.empty(0) if pixels is None else torch.from_numpy(pixels)
        for row, (answer, draw) in enumerate(zip(answers, draws, strict=False)):
            if answer is None:
                # Whatever was wrong is raised here, and not before its draw; unless it has passed.
                yield images.read(places(draw))
            else:
                yield slot[row, :answer] if isinstance(answer, int) else answer
        # Free for the next request, once the training has done with the last one.
        del pixels, slot, answers, answer


def _requests(
    slots: Slots | None, lent: deque[Pixels | None], places: Callable[[int], Tensor], workers: int, first: int
) -> Iterator[Request]:
    """Yield what is asked of the workers in turn, and note which slots they get. Many batches in a request spare messages."""
    most = 1 if slots is None else slots.batches
    # The first ones differ, so that the training can begin early and workers then answer one after another, not all at once.
    lengths = chain((-(-most * (worker + 1) // workers) for worker in range(workers)), repeat(most))
    start = first
    for length in lengths:
        slot, pixels = (slots and slots.lend()) or (None, None)
        lent.append(pixels)
        del pixels
        yield slot, [places(draw).numpy() for draw in range(start, start + length)]
        start += length


def _replies(read: _Batches, requests: Iterator[Request], workers: int) -> Iterator[list[Answer]]:
    """Return an iterator of what is said to each request, in their order."""
    with warnings.catch_warnings(), _main_hidden(read.images):
        # Of more workers than cores, which the user has asked for.
        warnings.simplefilter("ignore")
        return iter(
            DataLoader(
                read,
                batch_sampler=requests,  # type: ignore[arg-type]
                num_workers=workers,
                prefetch_factor=ASKED if workers else None,
                multiprocessing_context=_context() if workers else None,
                worker_init_fn=_begin,
                collate_fn=_as_it_is,
                # Without one of its own it would draw from the default one.
                generator=torch.Generator(),
            )
        )


class _Batches(Dataset[Any]):
    """What a worker does for the loader: it reads batches into their slot."""

    def __init__(self, images: Images, slots: Tensor | None) -> None:
        self.images, self.slots = images, slots

    def __getitems__(self, request: Request) -> list[Answer]:
        slot, batches = request
        room = None if self.slots is None or slot is None else self.slots[slot]
        return [self._read(places, None if room is None else room[row]) for row, places in enumerate(batches)]

    def _read(self, places: Any, room: Tensor | None) -> Answer:
        try:
            images = self.images.read(torch.from_numpy(places))
        except Exception:
            return None
        # A copy would turn other types and shapes into those of the slot, unasked.
        fits = room is not None and images.dtype == room.dtype and images.shape[1:] == room.shape[1:]
        if room is None or not fits or len(images) > len(room):
            return images
        room[: len(images)] = images
        return len(images)


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
