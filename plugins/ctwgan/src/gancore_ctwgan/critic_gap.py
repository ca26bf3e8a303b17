"""How much of its training images a critic has learned by heart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from gancore_standard.tools import evenly
from torch import Tensor

import gancore
from gancore.tools import evaluating, load_split, noise_for, to_unit

if TYPE_CHECKING:
    from gancore.tools import Run


class CriticGap(gancore.Metric):
    """How far a critic tells training images from test images, beside how far it tells them from generated ones (section 3.1).

    The paper plots the critic's loss on training and validation images, which come apart where it overfits. With the means of D
    over training, test and generated images, ``gap`` is E D(train) - E D(test), ``distance`` is E D(train) - E D(fake), and
    ``share`` is the first over the second: 0 for a critic that has learned nothing by heart, 1 for one to which test images are
    as bad as generated ones. All without dropout, of what D sees of an image, with the image's own label where D looks at it.

    Args:
        head: Recipe label of the critic's head.
        images: Images of each kind, evenly spread over the splits; all of a kind where there are fewer.
    """

    better: ClassVar[Mapping[str, str]] = {"share": "lower"}
    generates: ClassVar[bool] = True

    def __init__(self, *, head: str = "adversarial", images: Annotated[int, gancore.Range(1)] = 1000) -> None:
        self.head = head
        self.images = images

    def prepare(self, run: Run) -> None:
        """Refuse a run without such a head, or one that does not say a number of each image.

        Raises:
            GancoreError: There is no such head; or D judges classes, groups of images, or another network's features.
        """
        if self.head not in run.heads:
            raise gancore.GancoreError(
                f"{run.recipe.name} has no head {self.head!r} to score the critic by; name one by the metric's setting `head`."
            )
        network, head, attributes = run.networks["discriminator"], run.heads[self.head], run.plan.info.attributes
        features = torch.zeros(2, network.features, device=run.device)
        label = torch.zeros((2, attributes) if attributes else 2, dtype=torch.int64, device=run.device)
        with evaluating(head):
            numbers = head(features, label).ndim == 1
        if not numbers or run.plan.group > 1 or run.plan.stands_on is not None:
            raise gancore.GancoreError(
                f"heads.{self.head} gives no logit of each image, by which ctwgan/critic-gap could tell images apart; name "
                "another head, or leave the metric out."
            )

    def score_run(self, run: Run) -> dict[str, Any]:
        """Return ``gap``, ``distance`` and ``share``."""
        latents = run.latent(self.images, "critic-gap")
        splits = run.batches.selection[:2], load_split(run.plan.dataset, "test")
        real = [(evenly(images, self.images), evenly(labels, self.images)) for images, labels in splits]
        network, head = run.networks["discriminator"], run.heads[self.head]
        with evaluating(network), evaluating(head):
            train, test = (self._mean(run, network, head, to_unit(images), labels) for images, labels in real)
            fake = self._mean(run, network, head, run.generate(latents), latents.label)
        gap, distance = train - test, train - fake
        return {"gap": gap, "distance": distance, "share": gap / distance if distance else 0.0}

    def _mean(self, run: Run, network: Any, head: Any, images: Tensor, labels: Tensor) -> float:
        def judged(rows: slice) -> Tensor:
            batch, label = images[rows].to(run.device), labels[rows].to(run.device)
            for name, sampler in run.parts.samplers.items():
                batch = sampler.view(batch, noise_for(run.device, run.seed, "critic-gap", name, rows.start))
            with run.autocast():
                features = network(batch, label) if run.parts.sees_labels else network(batch)
                logits: Tensor = head(features, label)
            return logits.double()

        return float(torch.cat([judged(slice(start, start + 250)) for start in range(0, len(images), 250)]).mean())

    def protocol(self) -> dict[str, Any]:
        """Return which head it is, and how many images of each kind."""
        return {"head": self.head, "images": self.images}
