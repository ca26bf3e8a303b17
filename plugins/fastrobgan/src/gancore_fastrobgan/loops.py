"""Update rules: free adversarial replay, and the fine-tuning of a discriminator as a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import gancore

if TYPE_CHECKING:
    from gancore import Run


class FreeReplay(gancore.Loop):
    """The discriminator sees the same real and generated images several times (Zhong 2020, Algorithm 2).

    With an attack of shared gradient (``fastrobgan/free``), every replay also moves the perturbation. The generated images
    of a replayed batch are made once. Then the generator takes one turn on fresh latents.

    Args:
        replays: Turns M of the discriminator on one batch.
        discriminator_steps: Batches per turn of the generator (step_D).
    """

    players: Sequence[str] = ("generator", "discriminator")

    def __init__(
        self,
        *,
        replays: Annotated[int, gancore.Range(1, 1000)] = 2,
        discriminator_steps: Annotated[int, gancore.Range(1, 1000)] = 1,
    ) -> None:
        super().__init__()
        self.replays = replays
        self.discriminator_steps = discriminator_steps

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        for _ in range(self.discriminator_steps):
            batch = run.fresh()
            for _ in range(self.replays):
                run.phase("discriminator", batch)
        run.phase("generator", run.renew(batch))


class FineTuning(gancore.Loop):
    """Train the discriminator alone, as a classifier; a generator, where there is one, is frozen."""

    players: Sequence[str] = ("discriminator",)

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        run.phase("discriminator", run.fresh())
