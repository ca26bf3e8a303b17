"""Fréchet distance class by class: how good a conditional generator's images of each class are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from gancore import GancoreError
from gancore_standard.metrics.features import FeatureMetric, FeatureStore, few_images, of_one_width
from gancore_standard.metrics.frechet import SINGULAR, frechet_distance_of_samples

LONG_TAIL = 5
"""How many times as many training images as the smallest class the largest has at least in long-tailed data.

The long-tailed sets of the literature have 10 times and more; common sets that are not quite balanced have less (SVHN 3 times).
"""


class _Labeled:
    """Features with a label each."""

    def __init__(self, of: str) -> None:
        self.of = of
        self.features = FeatureStore(of)
        self._labels: list[Tensor] = []

    def update(self, features: Tensor, labels: Tensor) -> None:
        self.features.update(features)
        self._labels.append(labels)

    def labels(self) -> Tensor:
        if len(self._labels) > 1:
            self._labels = [torch.cat(self._labels)]
        return self._labels[0]

    def state(self) -> dict[str, Tensor]:
        features = self.features.state()
        return {**features, "labels": self.labels().contiguous()} if features else {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        rest = {name: tensor for name, tensor in state.items() if name != "labels"}
        self.features.load_state(rest)
        labels = state.get("labels")
        if (labels is None) != (not rest) or (labels is not None and labels.shape != rest["features"].shape[:1]):
            raise GancoreError(f"The stored features of {self.of} don't have a label each; compute them anew from the images.")
        self._labels = [] if labels is None else [labels]


class IntraClassFrechetDistance(FeatureMetric):
    """Intra-class Fréchet distance: for each class, of its real images and of those that the generator was asked for.

    Intra FID (Miyato and Koyama 2018, arXiv:1802.05637, section 4); on long-tailed data NoisyTwins (arXiv:2304.05866) reports
    it, because one distance over all classes hardly sees a tail that has collapsed. Reports ``intra_frechet``, the mean over
    the classes; ``by_class``, one distance per class; and on long-tailed data ``head``, ``medium`` and ``tail``, means over the
    classes of a group. All are 0 or more. A class of which no image takes part in the training is left out, as the generator is
    not asked for it; then there is no ``by_class``, whose places are the classes.

    The groups: of K classes, sorted by their training images (after samplers; among equals by their number), the K // 3 with
    most are the head, the K // 3 with fewest the tail, and the rest is in between; of 10 classes 3, 4 and 3. They are shares of
    the classes instead of bounds on their counts as in classification (more than 100, fewer than 20 images:
    arXiv:1904.05160), by which CIFAR-10 with a ratio of 100 has no tail. There are none where the largest class has less than
    5 times the images of the smallest, or with fewer than three classes.

    An image counts for the class that the generator was asked for, whatever it shows. So the scores are for a conditional
    generator: of one that ignores its labels, every class gets the same images but for chance, and the distances say how
    far each class is from all of them. The distance of few images is biased upwards, so only values of equally many images can
    be compared: not those of classes with the distance over all classes.

    The features of all images are kept, for a covariance per class would take far more memory than the features do.

    Args:
        classes: Number of classes K, from core.
        class_counts: Training images per class (K,), from core.
        network: Label of the frozen classifier whose features (N, F) are compared.

    Raises:
        GancoreError: There is not one count per class.
    """

    better: ClassVar[Mapping[str, str]] = {
        "intra_frechet": "lower",
        "head": "lower",
        "medium": "lower",
        "tail": "lower",
    }
    collector = _Labeled

    def __init__(self, *, classes: int, class_counts: list[int], network: str = "annotator") -> None:
        if len(class_counts) != classes:
            raise GancoreError(
                f"an intra-class Fréchet distance of {classes} classes needs as many class_counts, not {len(class_counts)}; "
                "leave them to core."
            )
        super().__init__(network=network)
        self.classes = classes
        self.occurring = [k for k, count in enumerate(class_counts) if count > 0]
        self.least = 2 * len(self.occurring)
        self.groups = groups_of([class_counts[k] for k in self.occurring])

    def update_real(self, *, features: Tensor, labels: Tensor) -> None:  # type: ignore[override]
        """Take in features (N, F) of real images and their classes (N,)."""
        self._real.update(features, labels)

    def update(self, *, features: Tensor, labels: Tensor) -> None:  # type: ignore[override]
        """Take in features (N, F) of generated images and the classes (N,) that the generator was asked for."""
        self._fake.update(features, labels)

    def protocol(self) -> dict[str, Any]:
        """Return whose labels count, what the groups are, and a warning of few images."""
        return {
            "class_of_a_fake": "the label asked for",
            "groups": f"thirds of the classes by training images, at a ratio of {LONG_TAIL} and more",
            "covariance": "unbiased",
            "moments_in": "float64",
            **self._few_of_a_class(),
        }

    def _few_of_a_class(self) -> dict[str, str]:
        if not self._fake.features.count or not self._real.features.count:
            return {}
        real, fake = (torch.bincount(one.labels(), minlength=self.classes) for one in (self._real, self._fake))
        fewest = int(torch.minimum(real, fake).argmin())
        why = f"{SINGULAR}; so it may be of other classes"
        return few_images(int(real[fewest]), int(fake[fewest]), self._real.features.width + 1, why, f" of class {fewest}")

    def compute(self) -> dict[str, Any]:
        """Return ``intra_frechet``, ``by_class`` of all classes, and where these are unequal ``head``, ``medium`` and ``tail``.

        Raises:
            GancoreError: Fewer than two images of a class on either side, features that are not finite or of different widths.
        """
        where = f"Intra-class Fréchet distance on the features of {self.network!r}"
        try:
            real, fake = of_one_width(self._real.features, self._fake.features, least=2)
        except GancoreError as error:
            raise GancoreError(f"{where}: {error}") from error
        places = [self._places(self._real, where), self._places(self._fake, where)]
        by_class = [frechet_distance_of_samples(real[a], fake[b]) for a, b in zip(*places, strict=True)]
        means = {name: _mean([by_class[k] for k in group]) for name, group in self.groups.items()}
        every = {"by_class": by_class} if len(by_class) == self.classes else {}
        return {"intra_frechet": _mean(by_class), **every, **means}

    def _places(self, images: _Labeled, where: str) -> list[Tensor]:
        """Return the places of each class's images."""
        labels = images.labels()
        by_class = [(labels == k).nonzero()[:, 0] for k in self.occurring]
        for k, places in zip(self.occurring, by_class, strict=True):
            if len(places) < 2:
                remedy = "choose a larger split" if images is self._real else "raise evaluation.samples"
                has = f"class {k} has {len(places)} of {images.of}"
                raise GancoreError(f"{where}: a covariance needs at least two images, but {has}; {remedy}.")
        return by_class


def groups_of(counts: Sequence[int]) -> dict[str, list[int]]:
    """Return the classes of ``head``, ``medium`` and ``tail``; none where the classes are about equal, or fewer than three."""
    if len(counts) < 3 or max(counts) < LONG_TAIL * max(1, min(counts)):
        return {}
    order = sorted(range(len(counts)), key=lambda k: (-counts[k], k))
    third = len(counts) // 3
    return {"head": order[:third], "medium": order[third:-third], "tail": order[-third:]}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
