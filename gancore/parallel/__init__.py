"""Several processes, and randomness that does not depend on their number."""

from __future__ import annotations

from gancore.parallel import distributed, randomness
from gancore.parallel.batch_norm import synchronise
from gancore.parallel.distributed import gather, global_mean, global_sum
from gancore.parallel.randomness import derive, drawing_from, generator, rand, randn, seed_default, shared

__all__ = [
    "derive",
    "distributed",
    "drawing_from",
    "gather",
    "generator",
    "global_mean",
    "global_sum",
    "rand",
    "randn",
    "randomness",
    "seed_default",
    "shared",
    "synchronise",
]
