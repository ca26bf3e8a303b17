"""Settings that a recipe gives where gancore would supply them: shapes that then fit nothing are their fault."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from gancore import GancoreError
from gancore.tools import CONTEXT, Plan, Planned, listed, said

SHAPES = frozenset(CONTEXT) - {"spectral_norm", "iterations"}
"""What gancore supplies and shapes of tensors depend on."""


@contextlib.contextmanager
def naming_overrides(plan: Plan) -> Iterator[None]:
    """Name what a recipe sets in gancore's place, e.g. a head's `features`, where torch can't compute with what it trains.

    Such settings are right in some recipes (a sampler may hand the discriminator images of other channels), so only what fails
    tells.

    Raises:
        GancoreError: Torch raised, and the recipe has such settings. Where it has none, what torch raised is left alone.
    """
    try:
        yield
    except RuntimeError as error:
        trained: tuple[Planned[Any, Any], ...] = (
            *map(plan.networks.__getitem__, plan.players),
            *plan.heads.values(),
            *plan.samplers.values(),
        )
        own = [f"the {key} of {one.where}" for one in trained for key in one.settings if key in SHAPES]
        if not own:
            raise
        why = f"{plan.recipe.name} can't be computed ({said(error)[:120]})"
        raise GancoreError(f"{why}; it sets {listed(own)}, which gancore knows; leave that out.") from error
