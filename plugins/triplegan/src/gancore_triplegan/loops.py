"""The update rule, and the side that it adds: images with the labels that the classifier gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import attrs

import gancore
from gancore.tools import evaluating

if TYPE_CHECKING:
    from gancore import Run


class ThreePlayers(gancore.Loop):
    """A turn of the discriminator, one of the generator, one of the classifier (Li et al. 2017, arXiv:1703.02291, Alg. 1).

    The order is the public code's; Algorithm 1 prints the classifier's turn before the generator's. Each has latents of its
    own. To the batch it adds the side ``guessed``: the data's images, whose own labels nothing here needs, with the labels that
    the classifier finds likeliest: pairs of p_c(x, y) = p(x) p_c(y | x). They are the classifier's of before its turn, in
    evaluation mode, so without dropout; in the public code, with it.

    Args:
        generated: Images that the generator makes in each turn; by default `batch_size`.
    """

    players: Sequence[str] = ("generator", "discriminator", "classifier")

    adds: ClassVar[Sequence[str]] = ("guessed",)

    def __init__(self, *, generated: Annotated[int, gancore.Range(1)] | None = None) -> None:
        super().__init__()
        self.generated = generated

    def iteration(self, run: Run) -> None:
        """Run one iteration."""
        batch = self._labeled(run, run.fresh())
        for player in ("discriminator", "generator", "classifier"):
            run.phase(player, run.renew(batch, self.generated))

    def _labeled(self, run: Run, batch: Any) -> Any:
        classifier = run.networks["classifier"]
        with evaluating(classifier):
            labels = classifier(batch.real).argmax(1)
        return attrs.evolve(batch, sides={**batch.sides, "guessed": (batch.real, labels)})
