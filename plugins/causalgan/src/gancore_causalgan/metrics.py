"""Scores of a controller's labels, and of whether images have the attributes that they were asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import attrs
import torch
from torch import Tensor

from gancore import GancoreError, Latents, Metric, Range
from gancore_causalgan.networks import Labeler

if TYPE_CHECKING:
    from gancore import Run


class TotalVariation(Metric):
    """Total variation distance of the joint distribution of attributes between points of a controller and the data's.

    sum_l |p(l) - q(l)| / 2 over the combinations of attributes l, each point rounded to the nearest one (the score by which the
    public code stops, at 0.02).
    """

    better: ClassVar[Mapping[str, str]] = {"distance": "lower"}

    def __init__(self) -> None:
        self._real: list[Tensor] = []
        self.reset()

    def reset(self) -> None:
        """Forget the controller's points."""
        self._fake: list[Tensor] = []

    def update_real(self, *, images: Tensor) -> None:
        """Take in attributes of the data as points (N, A, 1, 1).

        Raises:
            GancoreError: They are none: other images, or values other than -1 and 1.
        """
        if images.shape[2:] != (1, 1) or not bool((images.abs() == 1).all()):
            raise GancoreError(
                "the total variation distance is of attributes as points, and the data are none; score a controller on "
                "causalgan/attributes, or leave the metric out."
            )
        self._real.append(images.flatten(1) > 0)

    def update(self, *, images: Tensor) -> None:
        """Take in points (N, A, 1, 1) of the controller."""
        self._fake.append(images.flatten(1) > 0)

    def compute(self) -> dict[str, Any]:
        """Return ``distance``, in [0, 1].

        Raises:
            GancoreError: There are no points.
        """
        if not (self._real and self._fake):
            raise GancoreError("the total variation distance needs points of the data and of the controller; raise samples.")
        real, fake = torch.cat(self._real), torch.cat(self._fake)
        _, places = torch.cat([real, fake]).unique(dim=0, return_inverse=True)
        number = int(places.max()) + 1
        shares = [rows.bincount(minlength=number).double() / len(rows) for rows in places.split([len(real), len(fake)])]
        return {"distance": (shares[0] - shares[1]).abs().sum().item() / 2}


class Variety(Metric):
    """How much images of the same attributes differ, beside real ones: what the anti-labeler is there to keep.

    The variance of a pixel among the images of one combination of attributes, summed over pixels, divided by that of the data's
    images of the same combination; the mean over the combinations of which both sides have two images or more, and the
    data two that differ. 0 is one image for each combination; noise counts as variety too.

    Args:
        attributes: Number of attributes A, from core.
    """

    better: ClassVar[Mapping[str, str]] = {"variety": "higher"}

    def __init__(self, *, attributes: int = 0) -> None:
        if not attributes:
            raise GancoreError("variety is among images of the same attributes, and the data have none; leave the metric out.")
        self._real: list[tuple[Tensor, Tensor]] = []
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._fake: list[tuple[Tensor, Tensor]] = []

    def update_real(self, *, images: Tensor, labels: Tensor) -> None:
        """Take in images (N, C, H, W) of the data and their attributes (N, A)."""
        self._real.append((images.double().flatten(1), labels))

    def update(self, *, images: Tensor, labels: Tensor) -> None:
        """Take in generated images (N, C, H, W) and the attributes (N, A) that were asked for."""
        self._fake.append((images.double().flatten(1), labels))

    def compute(self) -> dict[str, Any]:
        """Return ``variety``, 0 or more.

        Raises:
            GancoreError: No combination of attributes is there twice on both sides.
        """
        real, fake = (_spread(*(torch.cat(each) for each in zip(*side, strict=True))) for side in (self._real, self._fake))
        shares = [fake[combination] / real[combination] for combination in real.keys() & fake.keys() if real[combination]]
        if not shares:
            raise GancoreError(
                "variety needs two images of one combination of attributes on both sides, of the data two that differ; raise "
                "samples."
            )
        return {"variety": sum(shares) / len(shares)}


def _spread(images: Tensor, labels: Tensor) -> dict[tuple[int, ...], float]:
    """Return the summed variance of images (N, D) of each combination of attributes (N, A) that occurs more than once."""
    combinations, places = labels.unique(dim=0, return_inverse=True)
    groups = {tuple(row): images[places == number] for number, row in enumerate(combinations.tolist())}
    return {row: group.var(0).sum().item() for row, group in groups.items() if len(group) > 1}


class AsAsked(Metric):
    """Share of attributes that generated images have, in the eyes of a frozen judge, as they were asked for.

    ``asked`` asks for each combination of attributes as often as any other, also for those that the data lack: a generator that
    ignores attributes gets 0.5. ``drawn`` asks for what the recipe's latents draw.

    Args:
        attributes: Number of attributes A, from core.
        judge: Recipe label of a frozen network that gives logits of attributes, e.g. `causalgan/labeler`.
        samples: Images of each of the two.
        seed: Of their latents.
    """

    better: ClassVar[Mapping[str, str]] = {"asked": "higher", "drawn": "higher"}
    generates = True

    def __init__(
        self,
        *,
        attributes: int = 0,
        judge: str = "judge",
        samples: Annotated[int, Range(1)] = 2000,
        seed: Annotated[int, Range(0)] = 0,
    ) -> None:
        self.attributes, self.judge, self.samples, self.seed = attributes, judge, samples, seed

    def prepare(self, run: Run) -> None:
        """Refuse a recipe without a judge, or whose data have no attributes.

        Raises:
            GancoreError: It is one.
        """
        if not self.attributes:
            raise GancoreError(f"{run.recipe.name} has data without attributes, so that none can be asked for.")
        if not isinstance(run.networks.get(self.judge), Labeler):
            raise GancoreError(
                f"{run.recipe.name} has no network {self.judge!r} that says which attributes an image has; add "
                f"[networks.{self.judge}], a trained causalgan/labeler."
            )

    def protocol(self) -> dict[str, Any]:
        """Return how many images were made, of which latents."""
        return {"asked_images": self.samples, "asked_seed": self.seed}

    @torch.no_grad()
    def score_run(self, run: Run) -> dict[str, Any]:
        """Return ``asked`` and ``drawn``, and ``by_attribute``, the former of each."""
        self.prepare(run)
        latents = run.latent(self.samples, "as-asked", self.seed)
        places = torch.arange(self.samples, device=run.device)
        every = torch.stack([places >> bit & 1 for bit in range(self.attributes)], 1)
        asked = self._right(run, attrs.evolve(latents, label=every))
        drawn = self._right(run, latents).mean()
        return {"asked": asked.mean().item(), "drawn": drawn.item(), "by_attribute": asked.mean(0).tolist()}

    def _right(self, run: Run, latents: Latents) -> Tensor:
        judge = run.networks[self.judge]
        right = []
        for start in range(0, self.samples, 500):
            rows = slice(start, start + 500)
            piece = Latents(latents.z[rows], latents.label[rows])
            images = run.generate(piece, start=start, total=self.samples)
            right.append((judge(images) > 0) == (piece.label > 0))
        return torch.cat(right).double()
