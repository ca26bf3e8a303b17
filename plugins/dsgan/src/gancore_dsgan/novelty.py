"""The score ``novelty``: a detector of classes that were never seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import torch
from gancore_standard.tools import SmallCNN, logits_of, own_random_state, shuffled_epochs, train_classifier
from torch import Tensor, nn
from torch.nn import functional as F

import gancore
from gancore.tools import derive, noise_for, to_uint8, to_unit

LEAST_SIZE = 8
"""Smallest images, in pixels, that the detector's convolutions are made for."""

Positive = Annotated[float, gancore.Range(0, open_low=True)]


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
        images, labels = (torch.cat(batches).to(device) for batches in zip(*self._real, strict=True))
        is_seen = torch.isin(labels, torch.tensor(self.seen, device=device))
        # The place of an image among those of its class: places in the whole set could be all of one class.
        one_hot = F.one_hot(labels)
        first = ((one_hot.cumsum(0) * one_hot).sum(1) - 1) % 2 == 0
        groups = images[is_seen & first], images[is_seen & ~first], images[~is_seen]
        for group, what in zip(groups, ("seen classes", "seen classes to test with", "unseen classes"), strict=True):
            if not len(group):
                raise gancore.GancoreError(
                    f"Novelty: with seen = {self.seen} the evaluation's {len(images)} real images have none of {what}; "
                    "name other classes in seen, or choose another split."
                )
        return groups

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
