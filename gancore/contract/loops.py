"""The base class of update rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gancore.contract.running import Run


class Loop:
    """An update rule: ordinary Python that says which phases run, on which batches. It knows phases, never terms.

    Attributes:
        players: The networks that are trained, by recipe label. Every other network of a recipe is frozen.
    """

    players: Sequence[str] = ("generator", "discriminator")

    def iteration(self, run: Run) -> None:
        """Run one iteration by calling ``run.fresh()``, ``run.renew(batch)`` and ``run.phase(player, batch)``."""
        raise NotImplementedError
