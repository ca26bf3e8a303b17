"""Update rules: the alternating one of GANs, and the supervised one of classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from gancore import Loop, Range

if TYPE_CHECKING:
    from gancore import Run


class Alternating(Loop):
    """Some steps of the discriminator on fresh batches, then one of the generator (Goodfellow et al. 2014, Alg. 1).

    The generator's turn sees the real images of the last discriminator step, with fresh latents.

    Args:
        discriminator_steps: Discriminator steps per generator step.
    """

    players: Sequence[str] = ("generator", "discriminator")

    def __init__(self, *, discriminator_steps: Annotated[int, Range(1)] = 1) -> None:
        super().__init__()
        self.discriminator_steps = discriminator_steps

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        for _ in range(self.discriminator_steps):
            batch = run.fresh()
            run.phase("discriminator", batch)
        run.phase("generator", run.renew(batch))


class Supervised(Loop):
    """Train a classifier on the data alone."""

    players: Sequence[str] = ("classifier",)

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        run.phase("classifier", run.fresh())
