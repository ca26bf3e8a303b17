"""The update rules of a game and of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import gancore


class Alternating(gancore.Loop):
    """Some steps of the discriminator on fresh batches, then one of the generator with fresh latents.

    Args:
        discriminator_steps: How many.
    """

    def __init__(self, *, discriminator_steps: Annotated[int, gancore.Range(1)] = 1) -> None:
        super().__init__()
        self.discriminator_steps = discriminator_steps

    def iteration(self, run: gancore.Run) -> None:
        for _ in range(self.discriminator_steps):
            batch = run.fresh()
            run.phase("discriminator", batch)
        run.phase("generator", run.renew(batch))


class Supervised(gancore.Loop):
    """A step of the classifier."""

    players: ClassVar[Sequence[str]] = ("classifier",)

    def iteration(self, run: gancore.Run) -> None:
        run.phase("classifier", run.fresh())
