"""The update rule of semi-supervised learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import torch
from torch import Tensor

import gancore

if TYPE_CHECKING:
    from gancore import Run


class SemiSupervised(gancore.Loop):
    """Critic and generator in every so-manieth iteration, then the classifier in every one (the authors' code).

    The classifier's turn draws a batch of its own: `labelled` and unlabeled images, and latents.

    Args:
        critic_steps: Steps of the discriminator before one of the generator; 0 for a recipe whose generator has no critic
            (feature matching).
        game_every: Iterations between turns of the discriminator and the generator.
        average: Decay of a moving average of the classifier's weights, for the score ``dsgan/averaged-accuracy``; 0 keeps none.
    """

    def __init__(
        self,
        *,
        critic_steps: Annotated[int, gancore.Range(0, 1000)] = 1,
        game_every: Annotated[int, gancore.Range(1)] = 1,
        average: Annotated[float, gancore.Range(0, 1, open_high=True)] = 0.0,
    ) -> None:
        super().__init__()
        self.average = average
        self.critic_steps = critic_steps
        self.game_every = game_every
        self.players: Sequence[str] = (
            ("generator", "discriminator", "classifier") if critic_steps else ("generator", "classifier")
        )

    def prepare(self, run: Run) -> None:
        """Start the average, if there is one, from the classifier's weights."""
        for place, parameter in enumerate(run.networks["classifier"].parameters() if self.average else ()):
            self.register_buffer(f"average_{place}", parameter.detach().clone())

    def averages(self) -> list[Tensor]:
        """Return the averaged weights, in the order of the classifier's parameters."""
        return list(self.buffers())

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        if run.iteration % self.game_every == 0:
            for _ in range(self.critic_steps):
                run.phase("discriminator", run.fresh())
            run.phase("generator", run.fresh())
        run.phase("classifier", run.fresh())
        if self.average:
            with torch.no_grad():
                for mean, parameter in zip(self.averages(), run.networks["classifier"].parameters(), strict=True):
                    mean.lerp_(parameter, 1 - self.average)
