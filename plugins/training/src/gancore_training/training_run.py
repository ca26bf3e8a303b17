"""A run as a training has it: with the numbers that components keep, which its checkpoints hold beside the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancore.tools import Plan, Run
from gancore_training.unsaved import Unsaved


class TrainingRun(Run):
    """A run that goes on from checkpoints; built as `gancore.tools.Run`.

    Attributes:
        unsaved: What its components keep outside of tensors, as it was when the run was built.
    """

    def __init__(self, plan: Plan, device: torch.device, weights: Mapping[str, Path] | None = None) -> None:
        super().__init__(plan, device, weights)
        self.unsaved = Unsaved(self.parts)

    def numbers(self) -> dict[str, Any]:
        """What components keep as plain numbers, and lists and tables of them, and have changed."""
        return self.unsaved.numbers()

    def restore(
        self, tensors: Mapping[str, Tensor], counters: Mapping[str, int], numbers: Mapping[str, Any] | None = None
    ) -> None:
        """Go back to what `tensors`, `counters` and `numbers` gave.

        Raises:
            GancoreError: Tensors are missing, unknown, or of another shape, or no component keeps such a number.
        """
        super().restore(tensors, counters)
        self.unsaved.restore(numbers or {})
