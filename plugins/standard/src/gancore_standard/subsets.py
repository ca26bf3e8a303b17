"""Some of the rows of a set that is too large to take all of."""

from __future__ import annotations

import torch
from torch import Tensor

from gancore import Images


def evenly(rows: Tensor | Images, most: int) -> Tensor:
    """Return at most so many rows, evenly spread, because a set may be in the order of its classes.

    Args:
        rows: Of N rows; of `gancore.Images` those alone are read that are returned.
        most: How many, at least 1.
    """
    number = len(rows)
    return rows[:] if number <= most else rows[torch.arange(most, device=rows.device) * number // most]
