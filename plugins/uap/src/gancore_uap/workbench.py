"""Where the stages work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import torch
from gancore_training import Progress

from gancore import GancoreError
from gancore.tools import Registry


@attrs.frozen
class Workbench:
    """Where the stages work.

    Attributes:
        registry: The installed plugins.
        device: Where to compute.
        progress: Told what happens.
        say: Shows one line of a result.
    """

    registry: Registry
    device: torch.device
    progress: Progress
    say: Callable[[str], None]


def folder_for(out: Path) -> Path:
    """Return a folder, made where it is not there.

    Raises:
        GancoreError: It can't be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GancoreError(f"{out} can't be a folder of results: {error.strerror}; choose another --out.") from error
    return out
