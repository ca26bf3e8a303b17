"""Classification accuracy score: how well a classifier that learns from generated images labels real ones."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gancore import GancoreError, Metric, Range
from gancore.tools import check, derive, noise_for, to_uint8, to_unit
from gancore_standard.classifier_training import (
    cosine,
    late_steps,
    logits_of,
    own_random_state,
    shuffled_epochs,
    train_classifier,
)

ARCHITECTURES = {
    "resnet20": "gancore_standard.networks.cifar_resnet:ResNet20",
    "resnet32": "gancore_standard.networks.cifar_resnet:ResNet32",
    "small-cnn": "gancore_standard.networks.small_cnn:SmallCNN",
}
"""Classifiers that a classification accuracy score may train."""

Positive = Annotated[float, Range(0, open_low=True)]


class ClassificationAccuracy(Metric):
    """Classification accuracy score: train a classifier on generated images, test it on real ones.

    Ravuri and Vinyals 2019 (arXiv:1905.10887); CBGAN (OpenReview:yEnaS6yOkxy, section 4.1) labels the images of an
    unconditional generator by its long-tail classifier. The classifier learns by SGD with momentum 0.9 and weight decay 2e-4,
    in float32; it is a function of the images, the labels and the settings (on a CPU to the last bit), and leaves the global
    random state alone. Reports ``cas``, from 0 to 1.

    The settings of the training have names of their own, because core fills ``iterations`` and ``batch_size`` with the run's.

    Args:
        classes: Number of classes K, from core.
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        network: Label of the frozen classifier that labels the generated images; needed unless the generator's labels are used.
        labels: Whose labels the generated images get: ``network``, the class of its largest logit, or ``generator``, the
            class that it was asked for.
        architecture: The classifier that is trained.
        width: Its setting ``width``; None for its own default.
        classifier_iterations: Steps of its training.
        classifier_batch_size: Images per step.
        lr: Learning rate at the start.
        flip: Mirror every other image at random.
        crop_padding: Pad by so many black pixels, and crop at random.
        schedule: ``cosine``, without warm-up, or ``steps``, that of CBGAN's classifiers (A.3): 200 epochs, 5 of warm-up, times
            0.01 from epoch 160 and from epoch 180 on.
        seed: Of the initial weights, the order of the images, the flips and the crops.
    """

    better: ClassVar[Mapping[str, str]] = {"cas": "higher"}
    least = 2

    def __init__(
        self,
        *,
        classes: int,
        channels: int,
        image_size: int,
        network: str | None = None,
        labels: Literal["network", "generator"] = "network",
        architecture: Literal["resnet20", "resnet32", "small-cnn"] = "resnet32",
        width: int | float | None = None,
        classifier_iterations: Annotated[int, Range(1)] = 1000,
        classifier_batch_size: Annotated[int, Range(2)] = 128,
        lr: Positive = 0.05,
        flip: bool = False,
        crop_padding: Annotated[int, Range(0, 64)] = 0,
        schedule: Literal["cosine", "steps"] = "cosine",
        seed: Annotated[int, Range(0)] = 0,
    ) -> None:
        if labels == "network" and network is None:
            raise GancoreError(
                "a classification accuracy score that labels by a network needs the setting network, the label of a "
                "classifier; set it, or set labels = 'generator' for a conditional generator."
            )
        # Without a need for its logits the labeling network is not run.
        self.network = network if labels == "network" else None
        self.labels = labels
        self.classes = classes
        self.image = {"classes": classes, "channels": channels, "image_size": image_size}
        self.architecture = architecture
        self.width = width
        self.iterations = classifier_iterations
        self.batch_size = classifier_batch_size
        self.lr = lr
        self.flip = flip
        self.crop_padding = crop_padding
        self.schedule = schedule
        self.seed = seed
        with own_random_state(torch.device("cpu"), seed):
            self._build()  # What it refuses should be refused before hours of training, not after.
        self._real: list[tuple[Tensor, Tensor]] = []
        self.reset()

    def reset(self) -> None:
        """Forget the generated images."""
        self._fake: list[tuple[Tensor, Tensor]] = []
        self._finite: Tensor | None = None

    def update_real(self, *, images: Tensor, labels: Tensor) -> None:
        """Take in real test images (N, C, H, W) in [-1, 1] and their labels (N,)."""
        self._real.append((to_uint8(images), labels))

    def update(self, *, images: Tensor, labels: Tensor, logits: Tensor | None = None) -> None:
        """Take in generated images (N, C, H, W) in [-1, 1], the labels (N,) asked for, and the network's logits (N, K).

        Raises:
            GancoreError: Images are to be labeled by a network, but there are no logits, or not of K classes.
        """
        if self.labels == "network":
            if logits is None or logits.ndim != 2 or logits.shape[1] != self.classes:
                output = "none" if logits is None else f"logits of the shape {tuple(logits.shape)}"
                raise GancoreError(
                    f"{self._where}: the network {self.network!r} gives {output}, which can't label images of "
                    f"{self.classes} classes; name a classifier of these classes."
                )
            labels = logits.argmax(1)
            finite = torch.isfinite(logits).all()
            self._finite = finite if self._finite is None else self._finite & finite
        self._fake.append((to_uint8(images), labels))

    def protocol(self) -> dict[str, Any]:
        """Return everything that the training depends on."""
        # Settings that came later are in protocols of another value alone, so that the others' ids stay as they were.
        later = {"crop_padding": self.crop_padding or None, "schedule": None if self.schedule == "cosine" else self.schedule}
        return {
            "labels": self.labels,
            "architecture": self.architecture,
            "width": self.width,
            "iterations": self.iterations,
            "batch_size": self.batch_size,
            "lr": self.lr,
            "flip": self.flip,
            "seed": self.seed,
            **{key: value for key, value in later.items() if value is not None},
        }

    def compute(self) -> dict[str, Any]:
        """Train on the generated images and return ``cas``, the accuracy on the real ones.

        Raises:
            GancoreError: Fewer than two generated images, no real one, labels that can't be used, or training that diverges.
        """
        if sum(len(labels) for _, labels in self._fake) < 2 or not sum(len(labels) for _, labels in self._real):
            raise GancoreError(
                f"{self._where}: it needs at least two generated images and one real image; "
                "give it more before asking for the score."
            )
        if self._finite is not None and not bool(self._finite):
            raise GancoreError(
                f"{self._where}: the logits of {self.network!r} hold values that are not finite; "
                "check the network and its input."
            )
        images, labels = (torch.cat(batches) for batches in zip(*self._fake, strict=True))
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.classes:
            raise GancoreError(
                f"{self._where}: the generated images have labels from {low} to {high}, "
                f"but the data have {self.classes} classes; check the generator's labels."
            )
        with own_random_state(images.device, derive(self.seed, "classification-accuracy")), torch.enable_grad():
            model = self._build().to(images.device)
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self._train(model, images, labels)
        return {"cas": self._test(model)}

    @property
    def _where(self) -> str:
        return "Classification accuracy score"

    def _build(self) -> nn.Module:
        module, _, name = ARCHITECTURES[self.architecture].partition(":")
        cls = getattr(importlib.import_module(module), name)
        settings = {} if self.width is None else {"width": self.width}
        arguments = check(cls, settings, where=f"{self._where}: {self.architecture}", context=self.image)
        model: nn.Module = cls(**arguments)
        return model

    def _train(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        order, flips = (drawn.to(images.device) for drawn in self._order(len(images)))
        corners = self._corners().to(images.device) if self.crop_padding else None

        def batch(step: int) -> tuple[Tensor, Tensor]:
            chosen = images[order[step]]
            x = to_unit(chosen if corners is None else cropped(chosen, corners[step], self.crop_padding))
            if self.flip:
                x = torch.where(flips[step, :, None, None, None], x.flip(3), x)
            return x, labels[order[step]]

        optimizer = torch.optim.SGD(model.parameters(), lr=self.lr, momentum=0.9, weight_decay=2e-4, fused=True)
        factor = cosine if self.schedule == "cosine" else late_steps
        where = f"{self._where}: the classifier's training"
        train_classifier(model, optimizer, batch, self.iterations, where=where, factor=factor)

    def _order(self, number: int) -> tuple[Tensor, Tensor]:
        """Return which images each step takes, one epoch after another, and which of them it mirrors: (steps, batch) each."""
        noise, coin = (noise_for("cpu", self.seed, "classification-accuracy", purpose) for purpose in ("order", "flip"))
        order = shuffled_epochs(number, self.iterations, self.batch_size, noise)
        return order, torch.rand(order.shape, generator=coin) < 0.5

    def _corners(self) -> Tensor:
        """Return top and left of the crops of each step, from 0 to twice the padding: (steps, 2, batch) int64."""
        noise = noise_for("cpu", self.seed, "classification-accuracy", "crop")
        shape = (self.iterations, 2, self.batch_size)
        return torch.randint(0, 2 * self.crop_padding + 1, shape, generator=noise)

    def _test(self, model: nn.Module) -> float:
        images, labels = (torch.cat(batches) for batches in zip(*self._real, strict=True))
        return int((logits_of(model, images).argmax(1) == labels).sum()) / len(labels)


def cropped(images: Tensor, corners: Tensor, padding: int) -> Tensor:
    """Return crops of images (N, C, H, W), each as large as before, that are padded by 0.

    Args:
        images: The images.
        corners: Top and left of each crop (2, N), from 0 to twice the padding.
        padding: Pixels on each side.
    """
    n, _, height, width = images.shape
    rows, columns = (
        corner[:, None] + torch.arange(size, device=images.device)
        for corner, size in zip(corners, (height, width), strict=True)
    )
    number = torch.arange(n, device=images.device)[:, None, None]
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    return padded[number, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
