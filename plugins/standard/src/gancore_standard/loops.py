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
        generated: Images that the generator makes in its turn, by default `batch_size` (Miyato et al. 2018,
            arXiv:1802.05957, make twice as many).
        accumulate: Pieces of a batch in which each turn is taken, whose gradients are added before its one step; with less
            memory, in more time.
    """

    players: Sequence[str] = ("generator", "discriminator")

    def __init__(
        self,
        *,
        discriminator_steps: Annotated[int, Range(1, 1000)] = 1,
        generated: Annotated[int, Range(1)] | None = None,
        accumulate: Annotated[int, Range(1, 1000)] = 1,
    ) -> None:
        super().__init__()
        self.discriminator_steps = discriminator_steps
        self.generated = generated
        self.accumulate = accumulate

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        for _ in range(self.discriminator_steps):
            batch = run.fresh()
            run.phase("discriminator", batch, self.accumulate)
        run.phase("generator", run.renew(batch, self.generated), self.accumulate)


class Supervised(Loop):
    """Train a classifier on the data alone.

    Args:
        accumulate: Pieces of a batch that a turn is taken in, as for `Alternating`.
    """

    players: Sequence[str] = ("classifier",)

    def __init__(self, *, accumulate: Annotated[int, Range(1)] = 1) -> None:
        super().__init__()
        self.accumulate = accumulate

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        run.phase("classifier", run.fresh(), self.accumulate)
