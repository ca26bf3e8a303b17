"""Fooling rates: how many predictions of a classifier a universal perturbation changes, on true images of eight bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import torch
from torch import Tensor

import gancore
from gancore.tools import to_unit
from gancore_uap.budgets import apply_to_8bit

Classify = Callable[[Tensor], Tensor]
"""Maps images (N, C, H, W) float32 in [-1, 1] to logits (N, K)."""

Device = torch.device | str

DOMINANT = 5
"""How many of the most frequent predictions are reported."""


@attrs.frozen
class Fooling:
    """What one perturbation did to one classifier. All rates are shares of images, from 0 to 1.

    Attributes:
        fooling_rate: Images whose predicted label changes (arXiv:1610.08401, section 2); labels of the data take no part.
        accuracy: Images classified correctly as they are.
        perturbed_accuracy: Images classified correctly with the perturbation.
        targeted_success: Of the images that are not predicted as the target already, those that the perturbation makes so;
            None without a target, or where no such image is left.
        dominant: The most frequent predictions with the perturbation, at most five, and their shares, falling; universal
            perturbations often drive most images to a few classes.
        images: Number of images.
    """

    fooling_rate: float
    accuracy: float
    perturbed_accuracy: float
    targeted_success: float | None
    dominant: list[tuple[int, float]]
    images: int


Matrix = Mapping[str, Mapping[str, Fooling]]
"""Perturbation -> victim -> what it did."""


def score(
    classify: Classify,
    images: Tensor,
    labels: Tensor,
    delta: Tensor,
    *,
    target: int | None = None,
    batch_size: int = 250,
    device: Device | None = None,
) -> Fooling:
    """Return what a perturbation does to a classifier.

    Both kinds of images are what files of eight bits hold: the perturbed ones are clipped to 0 and 255.

    Args:
        classify: The classifier, in evaluation mode.
        images: Images (N, C, H, W) uint8.
        labels: Their classes (N,) int64, from 0.
        delta: Perturbation (C, H, W), in units of the [0, 1] scale of pixels; rounded to the nearest level.
        target: The class that the perturbation is to make all predictions be.
        batch_size: Images at a time.
        device: Where the classifier is; by default where the images are.

    Raises:
        GancoreError: There is no image, a size or a number of classes does not fit, or the classifier's output is not finite.
    """
    return transfer_matrix({"": classify}, {"": delta}, images, labels, target=target, batch_size=batch_size, device=device)[
        ""
    ][""]


def transfer_matrix(
    victims: Mapping[str, Classify],
    perturbations: Mapping[str, Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    target: int | None = None,
    batch_size: int = 250,
    device: Device | None = None,
) -> dict[str, dict[str, Fooling]]:
    """Return what each perturbation does to each victim: ``result[perturbation][victim]``.

    Each victim sees the unperturbed images once, however many perturbations there are.

    Args:
        victims: Name -> classifier, in evaluation mode.
        perturbations: Name -> perturbation (C, H, W), as for `score`.
        images: As for `score`.
        labels: As for `score`.
        target: As for `score`, of all perturbations.
        batch_size: As for `score`.
        device: As for `score`.

    Raises:
        GancoreError: As for `score`; it names the victim or the perturbation.
    """
    _check(images, labels, perturbations, batch_size)
    where = images.device if device is None else torch.device(device)
    rows: dict[str, dict[str, Fooling]] = {name: {} for name in perturbations}
    truth = labels.to("cpu")
    for victim, classify in victims.items():
        name = f"victim {victim!r}" if victim else "the classifier"
        clean, classes = _predictions(classify, images, None, batch_size, where, name)
        _check_classes(truth, classes, target, name)
        for row, delta in perturbations.items():
            perturbed, _ = _predictions(classify, images, delta, batch_size, where, name)
            rows[row][victim] = _fooling(clean, perturbed, truth, target)
    return rows


def sweep(
    classify: Classify,
    deltas: Mapping[str, Tensor],
    images: Tensor,
    labels: Tensor,
    *,
    target: int | None = None,
    batch_size: int = 250,
    device: Device | None = None,
) -> dict[str, Fooling]:
    """Return what a perturbation at several budgets does to one classifier, which sees the unperturbed images once.

    Args:
        classify: As for `score`.
        deltas: Budget, as text, so that it survives JSON -> the perturbation at it (C, H, W), as
            `gancore_uap.perturbation_files.Perturbation.scaled` gives.
        images: As for `score`.
        labels: As for `score`.
        target: As for `score`.
        batch_size: As for `score`.
        device: As for `score`.

    Returns:
        Budget, as text -> what it did.

    Raises:
        GancoreError: As for `score`.
    """
    rows = transfer_matrix({"": classify}, deltas, images, labels, target=target, batch_size=batch_size, device=device)
    return {epsilon: row[""] for epsilon, row in rows.items()}


@torch.no_grad()
def _predictions(
    classify: Classify, images: Tensor, delta: Tensor | None, batch_size: int, device: torch.device, name: str
) -> tuple[Tensor, int]:
    """Return predicted classes (N,) int64 on the CPU, and the number of classes."""
    predicted, classes = [], 0
    for batch in images.split(batch_size):
        local = batch.to(device)
        logits = classify(to_unit(local if delta is None else apply_to_8bit(local, delta)))
        if logits.ndim != 2 or len(logits) != len(batch):
            raise gancore.GancoreError(
                f"{name} gives {tuple(logits.shape)} for {len(batch)} images in place of one row of logits for each; "
                "choose a classifier."
            )
        # The largest of values that are not finite would look like a prediction.
        if not bool(logits.isfinite().all()):
            kind = "unperturbed" if delta is None else "perturbed"
            raise gancore.GancoreError(f"{name} gives logits of {kind} images that are not finite; check its weights.")
        predicted.append(logits.argmax(1).to("cpu"))
        classes = logits.shape[1]
    return torch.cat(predicted), classes


def _fooling(clean: Tensor, perturbed: Tensor, labels: Tensor, target: int | None) -> Fooling:
    number = len(labels)
    success = None
    if target is not None and bool((clean != target).any()):
        success = _rate(perturbed[clean != target] == target)
    counts = torch.bincount(perturbed)
    # Stable, so that of equally frequent classes the first comes first.
    order = torch.sort(counts, descending=True, stable=True).indices[:DOMINANT].tolist()
    dominant = [(k, int(counts[k]) / number) for k in order if counts[k]]
    accuracies = (_rate(clean == labels), _rate(perturbed == labels))
    return Fooling(_rate(clean != perturbed), *accuracies, success, dominant, number)


def _rate(which: Tensor) -> float:
    return int(which.sum()) / len(which)


def _check(images: Tensor, labels: Tensor, perturbations: Mapping[str, Tensor], batch_size: int) -> None:
    if images.ndim != 4 or not len(images):
        raise gancore.GancoreError(
            f"a fooling rate needs at least one image, as (N, C, H, W), and got {tuple(images.shape)}; choose another split."
        )
    if images.dtype != torch.uint8:
        raise gancore.GancoreError(
            f"fooling rates are measured on images of eight bits, and these are {str(images.dtype).removeprefix('torch.')}; "
            "convert them with gancore.tools.to_uint8."
        )
    if labels.shape != (len(images),):
        raise gancore.GancoreError(
            f"{len(images)} images need as many labels, and got labels of shape {tuple(labels.shape)}; give one for each."
        )
    if batch_size < 1:
        raise gancore.GancoreError(f"a batch of a fooling rate holds 1 image or more, and {batch_size} is none; raise it.")
    for name, delta in perturbations.items():
        if delta.shape != images.shape[1:]:
            title = f"the perturbation {name!r}" if name else "the perturbation"
            raise gancore.GancoreError(
                f"{title} has the size {_size(delta)} and the images have {_size(images[0])}; set data.image_size to the "
                "perturbation's size, or craft one at the size of the images."
            )


def _check_classes(labels: Tensor, classes: int, target: int | None, name: str) -> None:
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= classes:
        raise gancore.GancoreError(
            f"{name} knows the classes 0 to {classes - 1}, and the images have labels from {least} to {most}; "
            "choose a classifier that was trained on these classes."
        )
    if target is not None and not 0 <= target < classes:
        raise gancore.GancoreError(f"{name} has no class {target} to aim at; choose a target from 0 to {classes - 1}.")


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
