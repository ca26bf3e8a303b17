"""The update rule of semi-supervised learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import gancore

if TYPE_CHECKING:
    from gancore import Run


class SemiSupervised(gancore.Loop):
    """Critic and generator in every so-manieth iteration, then the classifier in every one (the authors' code).

    The classifier's turn draws a batch of its own: `labelled` and unlabelled images, and latents.

    Args:
        critic_steps: Steps of the discriminator before one of the generator; 0 for a recipe whose generator has no critic
            (feature matching).
        game_every: Iterations between turns of the discriminator and the generator.
    """

    def __init__(
        self, *, critic_steps: Annotated[int, gancore.Range(0, 1000)] = 1, game_every: Annotated[int, gancore.Range(1)] = 1
    ) -> None:
        super().__init__()
        self.critic_steps = critic_steps
        self.game_every = game_every
        self.players: Sequence[str] = (
            ("generator", "discriminator", "classifier") if critic_steps else ("generator", "classifier")
        )

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        if run.iteration % self.game_every == 0:
            for _ in range(self.critic_steps):
                run.phase("discriminator", run.fresh())
            run.phase("generator", run.fresh())
        run.phase("classifier", run.fresh())
