"""Several processes, and randomness that does not depend on their number."""

from __future__ import annotations

from gancore.parallel.batch_norm import synchronise
from gancore.parallel.distributed import first_to_fail, one_process, stop
from gancore.parallel.randomness import Kind, derive, drawing_from, generator, rand, seed_default, shared

__all__ = [
    "Kind",
    "derive",
    "drawing_from",
    "first_to_fail",
    "generator",
    "one_process",
    "rand",
    "seed_default",
    "shared",
    "stop",
    "synchronise",
]
