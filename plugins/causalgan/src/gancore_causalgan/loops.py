"""The update rule of generator, discriminator, labeler and anti-labeler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from gancore import GancoreError, Loop, Range
from gancore_causalgan.controller import Controller

if TYPE_CHECKING:
    from gancore import Run

Steps = Annotated[int, Range(1, 1000)]


class FourPlayers(Loop):
    """Some steps of the generator, then one of each other player (the public code's six to one).

    Args:
        generator_steps: Generator steps in an iteration, each on fresh latents.
        discriminator_steps: Discriminator steps in an iteration, each later one on a fresh batch.
    """

    players: Sequence[str] = ("generator", "discriminator", "labeler", "antilabeler")

    def __init__(self, *, generator_steps: Steps = 6, discriminator_steps: Steps = 1) -> None:
        super().__init__()
        self.generator_steps, self.discriminator_steps = generator_steps, discriminator_steps

    def prepare(self, run: Run) -> None:
        """Refuse a controller whose attributes are not the data's, one by one.

        Raises:
            GancoreError: It has others, or in another order.
        """
        names = list(run.plan.info.class_names)
        for label, network in run.networks.items():
            if isinstance(network, Controller) and names and network.names != names:
                raise GancoreError(
                    f"{run.recipe.name}: networks.{label} has the attributes {', '.join(network.names)}, and the data "
                    f"{', '.join(names)}; write its graph in the order of the data."
                )

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        batch = run.fresh()
        for _ in range(self.generator_steps):
            batch = run.renew(batch)
            run.phase("generator", batch)
        for player in self.players[1:]:
            run.phase(player, batch)
        for _ in range(self.discriminator_steps - 1):
            run.phase("discriminator", run.fresh())
