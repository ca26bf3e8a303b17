"""A run as a training has it: with all that its checkpoints hold beside the tensors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gancore.tools import Plan, Run, fingerprint
from gancore_training.contents import contents_of
from gancore_training.state import restore, tensors_of
from gancore_training.unsaved import Unsaved


class TrainingRun(Run):
    """A run that goes on from checkpoints; built as `gancore.tools.Run`.

    Attributes:
        unsaved: What its components keep outside of tensors, as it was when the run was built.
        choices: What accelerators, by their full names, have chosen for as long as the run is trained, wherever it goes on.
            Checkpoints hold it, so that what decides bits is not chosen anew by another machine, or by a race.
    """

    def __init__(self, plan: Plan, device: torch.device, weights: Mapping[str, Path] | None = None) -> None:
        super().__init__(plan, device, weights)
        self.unsaved = Unsaved(self.parts)
        self.choices: dict[str, str] = {}

    @cached_property
    def contents(self) -> dict[str, list[Any]]:
        """The number of images of the data and of each source, as samplers leave them, and a digest of what they are."""
        return contents_of(self)

    @cached_property
    def origins(self) -> dict[str, str]:
        """Fingerprints of weights that no checkpoint holds: of frozen networks, and those that trained ones began with."""
        frozen = {f"networks.{label}": network for label, network in self.networks.items() if label not in self.players}
        return {**{place: fingerprint(network) for place, network in frozen.items()}, **self.parts.loaded}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that a checkpoint holds: what one process would have. Of several, all must call it together."""
        return tensors_of(self)

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
        restore(self, tensors, counters)
        self.unsaved.restore(numbers or {})
