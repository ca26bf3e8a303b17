"""The update rules of a game and of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import gancore


class Alternating(gancore.Loop):
    """Some steps of the discriminator on fresh batches, then one of the generator with fresh latents.

    Args:
        discriminator_steps: How many.
        generated: Images that the generator makes in its turn.
        accumulate: Pieces of each turn.
    """

    def __init__(
        self,
        *,
        discriminator_steps: Annotated[int, gancore.Range(1)] = 1,
        generated: int | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.discriminator_steps = discriminator_steps
        self.generated = generated
        self.accumulate = accumulate

    def iteration(self, run: gancore.Run) -> None:
        for _ in range(self.discriminator_steps):
            batch = run.fresh()
            run.phase("discriminator", batch, self.accumulate)
        run.phase("generator", run.renew(batch, self.generated), self.accumulate)


class Supervised(gancore.Loop):
    """A step of the classifier."""

    players: ClassVar[Sequence[str]] = ("classifier",)

    def iteration(self, run: gancore.Run) -> None:
        run.phase("classifier", run.fresh())
