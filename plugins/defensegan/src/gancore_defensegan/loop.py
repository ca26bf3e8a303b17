"""The update rule of Defense-GAN-Rec: a classifier learns from reconstructions in place of images."""

from __future__ import annotations

import attrs

import gancore
import gancore.tools
from gancore.tools import distributed
from gancore_defensegan.defense import Count, Momentum, Rate
from gancore_defensegan.reconstruction import Descent, generator_of, reconstructed, starts


class Reconstructed(gancore.Loop):
    """Trains a classifier on what the recipe's frozen generator makes nearest to real images (Defense-GAN-Rec).

    Each batch is reconstructed anew when it is drawn; the public code reconstructs the training set once.

    Args:
        steps: See `gancore_defensegan.defense.Reconstruction`.
        restarts: See there.
        rate: See there.
        momentum: See there.
        decay: See there.
    """

    players = ("classifier",)
    reads_networks = True

    def __init__(
        self, *, steps: Count = 200, restarts: Count = 10, rate: Rate = 10.0, momentum: Momentum = 0.7, decay: bool = False
    ) -> None:
        super().__init__()
        self.descent = (steps, restarts, rate, momentum, decay)

    def prepare(self, run: gancore.Run) -> None:
        """Refuse a recipe without a generator.

        Raises:
            GancoreError: There is none, or one that translates images.
        """
        if "generator" not in run.networks:
            raise gancore.GancoreError(
                "the loop defensegan/reconstructed needs a generator; add [networks.generator] with the recipe that trains it "
                "first (trained_by)."
            )
        generator_of(run.networks["generator"])

    def iteration(self, run: gancore.Run) -> None:
        """Reconstruct a batch, and take the classifier's turn on it."""
        batch, descent = run.fresh(), Descent(*self.descent)
        generator = generator_of(run.networks["generator"])
        noise = gancore.tools.noise_for(run.device, run.seed, "reconstruction", run.iteration)
        # Drawn for the whole batch, so that several processes compute what one does.
        whole = starts(batch.whole * descent.restarts, generator.latent_dim, noise)
        label = run.latent(len(whole), "reconstruction", run.iteration).label
        z, label = (
            distributed.own_rows(each.unflatten(0, (batch.whole, descent.restarts))).flatten(0, 1) for each in (whole, label)
        )
        real = reconstructed(generator, batch.real, z, label, descent)
        run.phase("classifier", attrs.evolve(batch, real=real))
