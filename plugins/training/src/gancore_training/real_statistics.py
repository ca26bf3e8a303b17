"""What metrics know of the real images, kept by the content of these images, so that they are seen once and not once a run."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor

from gancore import GancoreError, Images, Rows
from gancore.tools import cache_root, read_tensors, write_tensors
from gancore_training.contents import content_of, digest_of

WORTH_KEEPING = 2.0
"""Seconds of work on the real images below which nothing is written."""


@attrs.frozen(slots=False)
class KnownStatistics:
    """Statistics of one set of real images, in the folder for what can be made again (``GANCORE_CACHE``).

    They lie under what they depend on: every pixel and label, the metric with its settings, the network's weights, the version
    of torch and the kind of device that shows the images (N, C, H, W) to networks.
    """

    images: Rows
    labels: Tensor
    device: torch.device
    folder: Path = attrs.field(init=False, factory=lambda: cache_root() / "real")

    def restore(self, metric: Any, key: Mapping[str, Any]) -> bool:
        """Give a metric the statistics that are kept for a key, all that they depend on beside the images, if there are any."""
        # Where nothing is kept, the images need not be read.
        if not any(self.folder.glob("*.safetensors")):
            return False
        try:
            tensors, _ = read_tensors(self._path(key), sealed=True)
            metric.load_real_state({name: tensor.to(self.device) for name, tensor in tensors.items()})
        except GancoreError:
            # There is none, or a damaged one, which is made again, as what is kept here always can be.
            return False
        return True

    def keep(self, metric: Any, key: Mapping[str, Any]) -> None:
        """Write what a metric has learned from the real images; a folder that can't be written keeps nothing."""
        with contextlib.suppress(GancoreError):
            write_tensors(self._path(key), metric.real_state(), {})

    def _path(self, key: Mapping[str, Any]) -> Path:
        everything = {**key, "images": self._content, "torch": torch.__version__, "device": self.device.type}
        return self.folder / f"{digest_of(everything, 24)}.safetensors"

    @functools.cached_property
    def _content(self) -> str:
        if isinstance(self.images, Images):
            # To read all of them would take as long as what is kept spares.
            return f"{self.images.fingerprint}-{content_of(self.labels)}"
        return content_of(self.images, self.labels)
