"""Several processes, and randomness that does not depend on their number."""

from __future__ import annotations

from gancore.parallel import collectives, distributed
from gancore.parallel.batch_norm import synchronize
from gancore.parallel.collectives import gather, global_mean, global_sum
from gancore.parallel.randomness import (
    Source,
    computed_on_host,
    derive,
    drawing_from,
    noise_for,
    rand,
    randn,
    seed_default,
    shared_noise,
)

__all__ = [
    "Source",
    "collectives",
    "computed_on_host",
    "derive",
    "distributed",
    "drawing_from",
    "gather",
    "global_mean",
    "global_sum",
    "noise_for",
    "rand",
    "randn",
    "seed_default",
    "shared_noise",
    "synchronize",
]
