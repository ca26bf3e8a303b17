"""The score ``nearest``: do generated images of low density lie where an ideal generator's would?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import torch
from torch import Tensor

import gancore
from gancore.tools import evaluating, load_split, noise_for, to_unit
from gancore_dsgan.samplers import noisy

if TYPE_CHECKING:
    from gancore.tools import Run

BATCH = 500
CENTRAL = (0.05, 0.95)
"""Quantiles of the ideal images' distances that `as_ideal` lies between."""


def distances(points: Tensor, data: Tensor) -> Tensor:
    """Return the distance of each point (M, D) to the nearest of the data (N, D), as a root mean square over D, (M,)."""
    nearest = [torch.cdist(some, data, compute_mode="donot_use_mm_for_euclid_dist").amin(1) for some in points.split(BATCH)]
    root_mean_square: Tensor = torch.cat(nearest) / data.shape[1] ** 0.5
    return root_mean_square


def as_ideal(generated: Tensor, ideal: Tensor) -> float:
    """Return the share of generated distances (M,) within the central 90 % of the ideal ones (N,)."""
    low, high = torch.quantile(ideal, torch.tensor(CENTRAL, dtype=ideal.dtype))
    return float(((generated >= low) & (generated <= high)).double().mean())


class Nearest(gancore.Metric):
    """Distance of images to the nearest training image: generated ones, an ideal generator's, and real ones.

    DSGAN's second stage in section 5.2 seeks what training images have with uniform noise and lack without it. Ideal are
    images that were not trained on, with that noise. Reports, each distance as the root mean square over an image's values on
    the [-1, 1] scale: ``generated``, ``ideal`` and ``real`` (the evaluation split's images as they are), their means; and
    ``as_ideal``, the share of generated images whose distance lies between the 5 % and the 95 % quantile of the ideal ones, 0.9
    for a generator that is ideal. With `classifier` also the last as ``features_as_ideal``, distances between its features
    instead, where the discriminator of section 5.2 plays.

    Args:
        scale: Half the range of the uniform noise, images in [-1, 1].
        images: Images of each kind; all of the split where there are fewer.
        classifier: Recipe label of a network whose features are compared too; none where it is empty.
        bounded: The ideal images stay in [-1, 1], as the sampler's setting of that name has them.
    """

    better: ClassVar[Mapping[str, str]] = {"as_ideal": "higher", "features_as_ideal": "higher"}
    generates: ClassVar[bool] = True

    def __init__(
        self,
        *,
        scale: Annotated[float, gancore.Range(0)] = 0.1,
        images: Annotated[int, gancore.Range(1)] = 1000,
        classifier: str = "",
        bounded: bool = False,
    ) -> None:
        self.scale = scale
        self.bounded = bounded
        self.images = images
        self.classifier = classifier

    def prepare(self, run: Run) -> None:
        """Refuse a run that has no such classifier.

        Raises:
            GancoreError: It has none.
        """
        if self.classifier and self.classifier not in run.networks:
            raise gancore.GancoreError(
                f"{run.recipe.name} has no network {self.classifier!r} whose features the score dsgan/nearest could compare; "
                "name one by its setting `classifier`, or leave that empty."
            )

    def score_run(self, run: Run) -> dict[str, Any]:
        """Return the mean distances and the shares."""
        self.prepare(run)
        data = to_unit(load_split(run.plan.dataset, "train")[0][:])
        real = to_unit(load_split(run.plan.dataset, run.recipe.evaluation.split)[0][: self.images])
        noise = noise_for("cpu", run.recipe.run.seed, "nearest", 0, 0)
        ideal = noisy(real, "uniform", self.scale, noise, bounded=self.bounded)
        generated = run.generate(run.latent(self.images, "nearest")).float().cpu()
        of = {
            name: distances(images.flatten(1), data.flatten(1))
            for name, images in (("generated", generated), ("ideal", ideal), ("real", real))
        }
        scores = {name: float(values.mean()) for name, values in of.items()}
        scores["as_ideal"] = as_ideal(of["generated"], of["ideal"])
        if self.classifier:
            known = self._features(run, data)
            near = [distances(self._features(run, images), known) for images in (generated, ideal)]
            scores["features_as_ideal"] = as_ideal(*near)
        return scores

    def _features(self, run: Run, images: Tensor) -> Tensor:
        network: Any = run.networks[self.classifier]
        with torch.no_grad(), evaluating(network), run.autocast():
            return torch.cat([network.embed(batch.to(run.device)).float().cpu() for batch in images.split(BATCH)])

    def protocol(self) -> dict[str, Any]:
        """Return the noise, the number of images, and whose features they are."""
        bounds = {"bounded": True} if self.bounded else {}
        return {"scale": self.scale, "images": self.images, "classifier": self.classifier, **bounds}
