"""The update rule of a perturbation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import gancore
from gancore_uap.skip_gradients import scaled_residuals

if TYPE_CHECKING:
    from gancore import Run


class Crafting(gancore.Loop):
    """Train a perturbation, the recipe's generator, against frozen classifiers.

    On residual networks gradients prefer the shortcuts; the Skip Gradient Method (Wu et al. 2020, arXiv:2002.05990) scales
    those that come through the residual branches. Networks without such blocks are left alone.

    Args:
        skip_gradient: Factor gamma of the gradients through residual branches; 1 leaves them as they are (CBGAN: 0.5).
        skip_first_block: The first block of a stage is exempt, as in the method's public code.
    """

    players: Sequence[str] = ("generator",)
    reads_networks: ClassVar[bool] = True

    def __init__(
        self,
        *,
        skip_gradient: Annotated[float, gancore.Range(0, 1, open_low=True)] = 1.0,
        skip_first_block: bool = True,
    ) -> None:
        super().__init__()
        self.skip_gradient = skip_gradient
        self.skip_first_block = skip_first_block

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        victims = [network for label, network in run.networks.items() if label not in self.players]
        with scaled_residuals(victims, self.skip_gradient, skip_first_block=self.skip_first_block):
            run.phase("generator", run.fresh())
