"""What is written beside the samples of a training: the class that each shows, and real images to hold against them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gancore.tools import evaluating, parameters_of, to_unit, write_text
from gancore_training.sampling import shows_labels

if TYPE_CHECKING:
    from gancore import Metric
    from gancore.tools import Run

COLUMNS = 8
NUMBER = COLUMNS * COLUMNS
"""Images of a grid of samples."""


def annotator_of(metrics: Mapping[str, Metric]) -> str | None:
    """Return the label of the network whose class logits a metric of generated images reads; None where none does."""
    reading = (m for m in metrics.values() if hasattr(m, "update") and "logits" in parameters_of(m.update))
    return next((metric.network for metric in reading if metric.network is not None), None)


def classes_of(run: Run, images: Tensor, labels: Tensor, annotator: str | None) -> dict[str, Any]:
    """Return as JSON takes it which class each sample shows, and who says so; nothing where nobody can.

    Args:
        run: The run.
        images: Samples (N, C, H, W) in [-1, 1].
        labels: The labels (N,), or (N, A), that they were asked for.
        annotator: As from `annotator_of`.
    """
    if labels.ndim != 1 or run.plan.info.classes < 2:
        return {}
    if shows_labels(run):
        return {"labels": labels.tolist(), "labels_by": "the class that was asked for"}
    if annotator is None:
        return {}
    network = run.networks[annotator]
    with evaluating(network):
        logits = network.classify(network.embed(images.to(run.device)))
    if logits.shape[1] != run.plan.info.classes:
        return {}
    return {"labels": logits.argmax(1).tolist(), "labels_by": f"the class that the network {annotator!r} sees in them"}


def real_images(run: Run) -> tuple[Tensor, dict[str, Any]]:
    """Return at most as many images of the training as a grid of samples has, in [-1, 1], and which classes they show.

    They are the first of each class, class by class in turn, so that nothing is drawn for them.
    """
    images, labels, _ = run.batches.selection
    places = torch.arange(min(NUMBER, len(labels)))
    known = labels.ndim == 1 and run.plan.info.classes > 1
    if known:
        of_class = [(labels == label).nonzero().flatten() for label in labels.unique()[:NUMBER]]
        most = NUMBER // len(of_class)
        ranks = [[int(own[rank]) for own in of_class if rank < len(own)] for rank in range(most)]
        places = torch.tensor([place for rank in ranks for place in rank])
    return to_unit(images[places]), {"labels": labels[places].tolist()} if known else {}


def describe(picture: Path, images: Tensor, facts: Mapping[str, Any]) -> None:
    """Write beside a grid of images what it shows, as JSON; points in the plane are no grid."""
    columns = {} if tuple(images.shape[1:]) == (2, 1, 1) else {"columns": COLUMNS}
    write_text(facts_of(picture), json.dumps({**columns, **facts}) + "\n")


def facts_of(picture: Path) -> Path:
    """Return the file beside a grid of images that says what it shows."""
    return picture.with_suffix(".json")
