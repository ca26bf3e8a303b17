"""Scores of the case studies: samples where data are rare, and a detector of classes that were never seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from gancore_standard.tools import SmallCNN, logits_of, own_random_state, shuffled_epochs, train_classifier
from torch import Tensor, nn
from torch.nn import functional as F

import gancore
from gancore.tools import derive, noise_for, to_uint8, to_unit

MOST_DIMENSIONS = 16
"""Above it a kernel density estimate says nothing, however many points there are."""

LEAST_SIZE = 8
"""Smallest images, in pixels, that the detector's convolutions are made for."""

Positive = Annotated[float, gancore.Range(0, open_low=True)]

_CHUNK = 4_000_000
"""Most pairs of points whose distances are held at once."""


class LowDensity(gancore.Metric):
    """How many generated points lie where the data are rare (arXiv:1912.12402, section 2.2).

    The density of the data is estimated by Gaussian kernels on the real points, in float64; that at a real point by those on
    all the others, since a point's own kernel would make every real point look common. The level is the density below which
    the share `level` of the real points lie. Reports:

    - ``outside``, the share of generated points whose density is below the level, from 0 to 1; about `level` for a generator
      that gives the data themselves, and 1 for one that gives only what is rare;
    - ``mean_distance``, their mean Euclidean distance to the nearest real point, on the [-1, 1] scale: what shows that
      they are rare and not merely far;
    - ``inside_bounds``, the share of them that lie within [-1, 1].

    Args:
        level: Share of the data that counts as rare.
        bandwidth: Standard deviation of the kernels, on the [-1, 1] scale.
    """

    better: ClassVar[Mapping[str, str]] = {"outside": "higher"}

    def __init__(
        self,
        *,
        level: Annotated[float, gancore.Range(0, 1, open_low=True, open_high=True)] = 0.05,
        bandwidth: Positive = 0.03,
    ) -> None:
        self.level = level
        self.bandwidth = bandwidth
        self._real: list[Tensor] = []
        self._threshold: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the generated points."""
        self._fake: list[Tensor] = []

    def update_real(self, *, images: Tensor) -> None:
        """Take in real points, images (N, C, H, W) in [-1, 1] of at most 16 values each.

        Raises:
            GancoreError: The images have more values, or another number of them than before.
        """
        self._real.append(self._points(images))
        self._threshold = None

    def update(self, *, images: Tensor) -> None:
        """Take in generated points, images (N, C, H, W) of at most 16 values each.

        Raises:
            GancoreError: The images have more values, or another number of them than before.
        """
        self._fake.append(self._points(images))

    def protocol(self) -> dict[str, Any]:
        """Return the level, the bandwidth, and how the density is estimated."""
        return {"level": self.level, "bandwidth": self.bandwidth, "density": "gaussian kernels, leave-one-out, float64"}

    def compute(self) -> dict[str, Any]:
        """Return ``outside``, ``mean_distance`` and ``inside_bounds``.

        Raises:
            GancoreError: No generated point, fewer than two real ones, or points that are not finite.
        """
        fake, real = self._gathered(self._fake, 1, "generated"), self._gathered(self._real, 2, "real")
        if self._threshold is None:
            own, _ = log_density(real, real, self.bandwidth, leave_one_out=True)
            self._threshold = torch.quantile(own, self.level)
        found, nearest = log_density(fake, real, self.bandwidth)
        return {
            "outside": float((found < self._threshold).double().mean()),
            "mean_distance": float(nearest.mean()),
            "inside_bounds": float((fake.abs() <= 1).all(1).double().mean()),
        }

    def _points(self, images: Tensor) -> Tensor:
        points = images.detach().flatten(1).double()
        held = [*self._real[:1], *self._fake[:1]]
        if points.shape[1] > MOST_DIMENSIONS:
            raise gancore.GancoreError(
                f"Low density: images of {points.shape[1]} values are no points of few dimensions, whose density could be "
                f"estimated; use it for data of at most {MOST_DIMENSIONS} values, such as points in the plane."
            )
        if held and held[0].shape[1] != points.shape[1]:
            raise gancore.GancoreError(
                f"Low density: points of {points.shape[1]} values came after points of {held[0].shape[1]}; "
                "all must have as many."
            )
        return points

    @staticmethod
    def _gathered(batches: list[Tensor], least: int, kind: str) -> Tensor:
        number = sum(map(len, batches))
        if number < least:
            raise gancore.GancoreError(
                f"Low density: it needs at least {'one' if least == 1 else 'two'} {kind} point{'' if least == 1 else 's'}, and "
                f"there {'is' if number == 1 else 'are'} {number}; give it more before asking for the score."
            )
        points = torch.cat(batches)
        if not bool(points.isfinite().all()):
            raise gancore.GancoreError(f"Low density: {kind} points are not finite; check where they come from.")
        return points


class Novelty(gancore.Metric):
    """Out-of-distribution detection: a detector that learns from generated images, tested on classes that it never saw.

    For a generator of what the data to avoid are *not* (arXiv:1912.12402, section 2.2: ones are avoided, sevens appear).
    The detector, a small convolutional classifier, learns to tell real images of the `seen` classes from generated ones; it
    is then asked to tell other real images of the seen classes from real images of all other classes. Real images are those
    of the evaluation's split: of each seen class the first, third, ... train, and the second, fourth, ... test. The detector
    learns by SGD with momentum 0.9, weight decay 2e-4 and a cosine schedule, from batches of which half is generated, in
    float32; it is a function of the images, the labels and the settings (on a CPU to the last bit), and leaves the global
    random state alone. Reports ``auroc``, the probability that an image of an unseen class gets a higher logit difference
    than one of a seen class: 1 for a perfect detector, 0.5 for a useless one.

    The settings of the training are named apart from ``iterations`` and ``batch_size``, which core would fill with the
    run's own.

    Args:
        classes: Number of classes of the data, from core.
        channels: Channels of an image, from core.
        image_size: Height and width, from core; at least 8.
        seen: The classes that the generator was to avoid; all others are the unseen ones.
        detector_iterations: Steps of the detector's training.
        detector_batch_size: Images per step, half of them generated; even.
        lr: Learning rate at the start.
        width: Multiplies the detector's numbers of maps 24, 48, 96, 96.
        seed: Of the detector's initial weights and the order of the images.

    Raises:
        GancoreError: `seen` names no class, all classes, one twice or one that there is not; the batch is odd; or the images
            are smaller than 8 pixels.
    """

    better: ClassVar[Mapping[str, str]] = {"auroc": "higher"}

    def __init__(
        self,
        *,
        classes: int,
        channels: int,
        image_size: int,
        seen: list[int],
        detector_iterations: Annotated[int, gancore.Range(1)] = 500,
        detector_batch_size: Annotated[int, gancore.Range(2)] = 100,
        lr: Positive = 0.05,
        width: Positive = 0.5,
        seed: Annotated[int, gancore.Range(0)] = 0,
    ) -> None:
        strange = sorted(label for label in seen if not 0 <= label < classes)
        if strange:
            raise gancore.GancoreError(
                f"Novelty: seen = {seen} holds {strange[0]}, but the data have the classes 0 to {classes - 1}; name those only."
            )
        if len(set(seen)) < len(seen):
            raise gancore.GancoreError(f"Novelty: seen = {seen} names a class twice; name each once.")
        if not 0 < len(seen) < classes:
            raise gancore.GancoreError(
                f"Novelty: seen = {seen} leaves no class on one side, of {classes} in all; name some of them, not all."
            )
        if detector_batch_size % 2:
            raise gancore.GancoreError(
                f"Novelty: half of each batch is generated, so detector_batch_size can't be {detector_batch_size}; "
                "set an even number."
            )
        if image_size < LEAST_SIZE:
            raise gancore.GancoreError(
                f"Novelty: the detector is made for images of {LEAST_SIZE} pixels and more, and these have {image_size}; "
                "use it on larger images."
            )
        self.image = {"channels": channels, "image_size": image_size}
        self.seen = list(seen)
        self.iterations = detector_iterations
        self.batch_size = detector_batch_size
        self.lr = lr
        self.width = width
        self.seed = seed
        self._real: list[tuple[Tensor, Tensor]] = []
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._fake: list[Tensor] = []

    def update_real(self, *, images: Tensor, labels: Tensor) -> None:
        """Take in real images (N, C, H, W) in [-1, 1] and their labels (N,)."""
        self._real.append((to_uint8(images), labels))

    def update(self, *, images: Tensor) -> None:
        """Take in generated images (N, C, H, W) in [-1, 1]."""
        self._fake.append(to_uint8(images))

    def protocol(self) -> dict[str, Any]:
        """Return everything that the detector depends on."""
        return {
            "seen": sorted(self.seen),
            "iterations": self.iterations,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "width": self.width,
            "seed": self.seed,
        }

    def compute(self) -> dict[str, Any]:
        """Train the detector and return ``auroc``.

        Raises:
            GancoreError: No generated image, fewer than two real images of seen classes (of one of them), no real image of
                an unseen class, or a training that diverges.
        """
        if not sum(map(len, self._fake)):
            raise gancore.GancoreError("Novelty: it needs generated images, and there are none; give it some first.")
        generated = torch.cat(self._fake)
        training, familiar, novel = self._divided(generated.device)
        with torch.enable_grad():
            detector = self._build().to(generated.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._train(detector, training, generated)
        return {"auroc": auroc(self._scores(detector, novel), self._scores(detector, familiar))}

    def _divided(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Return the real images of seen classes that train, those that test, and those of unseen classes."""
        if not self._real:
            raise gancore.GancoreError("Novelty: it needs real images, and there are none; give it some first.")
        images, labels = (torch.cat(part).to(device) for part in zip(*self._real, strict=True))
        is_seen = torch.isin(labels, torch.tensor(self.seen, device=device))
        # The place of an image among those of its class: places in the whole set could be all of one class.
        one_hot = F.one_hot(labels)
        first = ((one_hot.cumsum(0) * one_hot).sum(1) - 1) % 2 == 0
        parts = images[is_seen & first], images[is_seen & ~first], images[~is_seen]
        for part, what in zip(parts, ("seen classes", "seen classes to test with", "unseen classes"), strict=True):
            if not len(part):
                raise gancore.GancoreError(
                    f"Novelty: with seen = {self.seen} the evaluation's {len(images)} real images have none of {what}; "
                    "name other classes in seen, or choose another split."
                )
        return parts

    def _build(self) -> nn.Module:
        # Only the initial weights draw from the global random state, and only on the CPU.
        with own_random_state(torch.device("cpu"), derive(self.seed, "novelty")):
            return SmallCNN(**self.image, classes=2, width=self.width)

    def _train(self, detector: nn.Module, seen: Tensor, generated: Tensor) -> None:
        half = self.batch_size // 2
        orders = []
        for images, name in ((seen, "seen"), (generated, "generated")):
            noise = noise_for("cpu", self.seed, "novelty", "order", name)
            orders.append(shuffled_epochs(len(images), self.iterations, half, noise).to(images.device))
        target = torch.arange(2, device=generated.device).repeat_interleave(half)

        def batch(step: int) -> tuple[Tensor, Tensor]:
            return to_unit(torch.cat([seen[orders[0][step]], generated[orders[1][step]]])), target

        optimizer = torch.optim.SGD(detector.parameters(), lr=self.lr, momentum=0.9, weight_decay=2e-4)
        train_classifier(detector, optimizer, batch, self.iterations, where="Novelty: the detector's training")

    @staticmethod
    def _scores(detector: nn.Module, images: Tensor) -> Tensor:
        """Return by how much each image's logit of unseen is above that of seen: (N,)."""
        logits = logits_of(detector, images).double()
        return logits[:, 1] - logits[:, 0]


def auroc(positive: Tensor, negative: Tensor) -> float:
    """Return the area under the ROC curve: P(positive > negative) + P(positive = negative) / 2, in float64.

    The statistic of Mann and Whitney (1947) over the number of pairs, by ranks, of which equal scores share the mean.

    Args:
        positive: Scores (N,) of what is to be detected.
        negative: Scores (M,) of the rest.

    Returns:
        A number from 0 to 1.

    Raises:
        GancoreError: There are no scores of one kind, or some are not a number.
    """
    if not len(positive) or not len(negative):
        raise gancore.GancoreError(
            f"AUROC needs scores of both kinds, and got {len(positive)} positive and {len(negative)} negative ones."
        )
    scores = torch.cat([positive.detach().double(), negative.detach().double()])
    if bool(scores.isnan().any()):
        raise gancore.GancoreError("AUROC needs scores that are numbers, and some are not; check what computes them.")
    _, place, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0).double() - (counts - 1) / 2
    n, m = len(positive), len(negative)
    return float((ranks[place[:n]].sum() - n * (n + 1) / 2) / (n * m))


def log_density(points: Tensor, data: Tensor, bandwidth: float, *, leave_one_out: bool = False) -> tuple[Tensor, Tensor]:
    """Return the logarithm of a Gaussian kernel density estimate at points, and their distances to the nearest datum.

    In logarithms, so that points that are far from all data still have an order.

    Args:
        points: Where, (M, D) float64.
        data: What the estimate is made from, (N, D) float64.
        bandwidth: Standard deviation of the kernels.
        leave_one_out: `points` are `data`, N of 2 or more, and each leaves itself out.

    Returns:
        The logarithm of the density per unit of volume (M,) and the Euclidean distances (M,), float64.
    """
    number, dimensions = data.shape
    densities, distances = [], []
    rows = max(1, _CHUNK // number)
    for start in range(0, len(points), rows):
        # Not by products: what is nearest to itself shall be at 0 exactly.
        apart = torch.cdist(points[start : start + rows], data, compute_mode="donot_use_mm_for_euclid_dist")
        if leave_one_out:
            apart.diagonal(offset=start).fill_(math.inf)
        distances.append(apart.amin(1))
        densities.append(apart.square_().mul_(-0.5 / bandwidth**2).logsumexp(1))
    scale = math.log(number - leave_one_out) + dimensions * math.log(math.sqrt(2 * math.pi) * bandwidth)
    return torch.cat(densities) - scale, torch.cat(distances)
