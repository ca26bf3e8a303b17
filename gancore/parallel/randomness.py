"""Stateless randomness: every draw comes from a generator seeded by what it is for.

There is no random state to save, so resume is exact; and adding a part to a recipe does not change the draws of the others.
In several processes a part that draws something for each image uses `rand` and `randn`: each process then gets its own rows
of what one process would draw, so that their number does not change the result either.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

import gancore.parallel.distributed as distributed


class Source(Protocol):
    """What hands out all that an iteration takes from the host, in place of what is new: the seam for recording one."""

    def generator(
        self, kind: type[torch.Generator], device: torch.device | str, seed: int, purpose: tuple[str | int, ...]
    ) -> torch.Generator:
        """Return the generator for a purpose, of a kind."""

    def seed_default(self, seed: int, purpose: tuple[str | int, ...]) -> None:
        """Hear that the default generators would be seeded now, and for what."""

    def input(self, make: Callable[[int], Tensor], count: int) -> Tensor:
        """Return what ``make(count)`` would; it computes on the CPU, and `count` goes up with the iterations."""


_source: Source | None = None


@contextmanager
def drawing_from(other: Source | None) -> Iterator[None]:
    """Take every generator of this process inside the ``with`` from a source, or make it anew."""
    global _source
    before, _source = _source, other
    try:
        yield
    finally:
        _source = before


def derive(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for a purpose, e.g. ``derive(0, "latent", 17)``."""
    text = "\x1f".join(map(str, (seed, *purpose))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def noise_for(
    device: torch.device | str, seed: int, *purpose: str | int, kind: type[torch.Generator] = torch.Generator
) -> torch.Generator:
    """Return a generator on `device`, seeded for a purpose; of `SharedNoise` where that is its kind."""
    if _source is not None:
        return _source.generator(kind, device, seed, purpose)
    noise = kind(device)
    noise.manual_seed(derive(seed, *purpose))
    return noise


def computed_on_host(make: Callable[[int], Tensor], count: int) -> Tensor:
    """Return ``make(count)``, a tensor that the CPU computes for each iteration anew, such as the indices of a batch.

    Args:
        make: Computes it.
        count: A number of the run that goes up with its iterations.
    """
    return make(count) if _source is None else _source.input(make, count)


class SharedNoise(torch.Generator):
    """A generator that several processes seed alike, and from which `rand` and `randn` give each its own rows."""


def rand(shape: Sequence[int], noise: torch.Generator, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return uniform values on [0, 1) of a shape (N, ...) whose rows belong to the images of a batch.

    Args:
        shape: Of this process's part.
        noise: As core hands it to a part; with any other generator, `torch.rand`.
        dtype: Of the result, which is on the generator's device.
    """
    return _rows(torch.rand, shape, noise, dtype)


def randn(shape: Sequence[int], noise: torch.Generator, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return standard normal values of a shape (N, ...) whose rows belong to the images of a batch; as `rand`."""
    return _rows(torch.randn, shape, noise, dtype)


def _rows(draw: Callable[..., Tensor], shape: Sequence[int], noise: torch.Generator, dtype: torch.dtype) -> Tensor:
    shared = isinstance(noise, SharedNoise)
    number = shape[0] * (distributed.world_size() if shared else 1)
    whole = draw((number, *shape[1:]), generator=noise, device=noise.device, dtype=dtype)
    return distributed.own_rows(whole) if shared else whole


def seed_default(device: torch.device, seed: int, *purpose: str | int) -> None:
    """Seed the default generators of Python, NumPy, the CPU and a run's device, as `torch.manual_seed` does those of torch.

    That function has a traceback taken for a GPU that nobody has started yet, which costs a small step more than its
    arithmetic.
    """
    if _source is not None:
        _source.seed_default(seed, purpose)
        return
    seed = derive(seed, *purpose) if purpose else seed
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
