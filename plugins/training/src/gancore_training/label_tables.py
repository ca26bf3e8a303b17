"""The labels that occur in a run's data as a file holds them, and how those of its latents are distributed."""

from __future__ import annotations

from typing import Any

import torch

from gancore import DatasetInfo, GancoreError, Latent
from gancore.tools import Labels
from gancore_training.contents import digest_of


def table_of(labels: Labels) -> dict[str, float]:
    """Return each label, attributes with commas between them, and how often it occurs, as a file can hold it."""
    rows = labels.values.view(len(labels.values), -1).tolist()
    return {",".join(map(str, row)): count for row, count in zip(rows, labels.counts.tolist(), strict=True)}


def labels_of(table: Any, info: DatasetInfo, device: torch.device | str = "cpu") -> Labels:
    """Return what `table_of` wrote of such data.

    Raises:
        GancoreError: It is no such table.
    """
    try:
        rows = torch.tensor([[int(word) for word in text.split(",")] for text in table], device=device)
        counts = torch.tensor([*table.values()], dtype=torch.float64, device=device)
        sound = rows.shape[1] == (info.attributes or 1) and rows.min() >= 0 and rows.max() < (info.classes or 2)
    except (AttributeError, IndexError, OverflowError, RuntimeError, TypeError, ValueError):
        sound = False
    if not sound or not ((counts > 0) & counts.isfinite()).all():
        raise GancoreError("its labels are none of these data")
    return Labels(rows if info.attributes else rows[:, 0], counts)


def distribution(labels: Labels, latent: Latent, classes: int) -> str:
    """Return how the labels of a latent are distributed, for the protocol of scores; the same for the same labels alone."""
    if latent.labels == "data":
        return f"as in the data ({digest_of(table_of(labels), 8)})"
    if not latent.any_label or labels.values.shape == (classes,):
        return latent.labels
    return f"{latent.labels} over the {len(labels.values)} labels that occur ({digest_of([*table_of(labels)], 8)})"
