"""Lookahead-minmax (Chavdarova et al. 2021, "Taming GANs with Lookahead-Minmax", Algorithm 1)."""

from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor

import gancore


class Lookahead(gancore.Loop):
    """Every `k` iterations the weights of both players go back towards slow ones, at once (arXiv:2006.14567, Algorithm 1).

    Args:
        k: Iterations between two such steps.
        alpha: Share of the way from the slow weights to the fast ones that the slow weights take.
    """

    def __init__(self, *, k: Annotated[int, gancore.Range(1)] = 5, alpha: Annotated[float, gancore.Range(0, 1)] = 0.5) -> None:
        super().__init__()
        self.k, self.alpha = k, alpha

    def prepare(self, run: gancore.Run) -> None:
        """Start the slow weights where the fast ones start; as buffers they are saved and restored."""
        for name, parameter in self._weights(run):
            self.register_buffer(name, parameter.detach().clone())

    def iteration(self, run: gancore.Run) -> None:
        """Take a turn of each player, and, every so often, the step back."""
        batch = run.fresh()
        run.phase("discriminator", batch)
        run.phase("generator", run.renew(batch))
        if (run.iteration + 1) % self.k == 0:
            with torch.no_grad():
                for name, parameter in self._weights(run):
                    slow = self.get_buffer(name)
                    slow.lerp_(parameter, self.alpha)
                    parameter.copy_(slow)

    def _weights(self, run: gancore.Run) -> Iterator[tuple[str, Tensor]]:
        for player in self.players:
            for number, parameter in enumerate(run.players[player].parameters):
                yield f"{player}_{number}", parameter
