"""The proxy set as a data set: images that a prior GAN generated in its last cycles (CBGAN A.7)."""

from __future__ import annotations

from typing import Annotated

import torch
from gancore_standard.tools import check_split, expand_user
from torch import Tensor

import gancore
from gancore import DatasetInfo
from gancore_uap.proxy_files import SUMMARY, ProxySummary, damaged, read_cycle


class ProxySet(gancore.Dataset):
    """The images of `gancore uap prior`, labeled by the classes that its classifier predicts.

    It has no test images of its own: both splits are all images.

    Args:
        path: The folder, ``OUT/proxy``; a relative one counts from where the command is started.
        image_size: Height and width to which the images are resized (bilinear, antialiased), e.g. the victims' 224; 0 leaves
            them as they are.
    """

    def __init__(self, *, path: str, image_size: Annotated[int, gancore.Range(0, 4096)] = 0) -> None:
        self.folder = expand_user(path)
        self.image_size = image_size

    @property
    def info(self) -> DatasetInfo:
        """What ``proxy.json`` says.

        Raises:
            GancoreError: There is none, it is damaged, or the set is empty.
        """
        summary = self._summary()
        return DatasetInfo(summary.classes, summary.channels, self.image_size or summary.image_size)

    def _summary(self) -> ProxySummary:
        summary = ProxySummary.read(self.folder)
        if not summary.images:
            raise gancore.GancoreError(f"the proxy set {self.folder} is empty; make it anew by `gancore uap prior`.")
        return summary

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, H, W) uint8 and predicted classes (N,) int64, cycle by cycle.

        Raises:
            GancoreError: As `info`, there is no such split, or a cycle is missing, damaged, or not what ``proxy.json`` says.
        """
        check_split(split)
        summary = self._summary()
        shape = (summary.channels, summary.image_size, summary.image_size)
        # Filled piece by piece: joining the cycles afterwards would take twice the memory.
        size = self.info.image_size
        images = torch.empty((summary.images, summary.channels, size, size), dtype=torch.uint8)
        labels = torch.empty(summary.images, dtype=torch.int64)
        start = 0
        for cycle, counts in zip(summary.cycles, summary.counts, strict=True):
            cycle_images, cycle_labels = read_cycle(self.folder, summary.form, cycle, shape, summary.classes)
            if torch.bincount(cycle_labels, minlength=summary.classes).tolist() != counts:
                raise damaged(self.folder, summary.form, cycle, f"is not what {SUMMARY} says")
            end = start + len(cycle_labels)
            images[start:end], labels[start:end] = _resized(cycle_images, size), cycle_labels
            start = end
        return images, labels


def _resized(images: Tensor, size: int) -> Tensor:
    """Return images (N, C, H, W) uint8 at another size, few at a time."""
    if images.shape[-1] == size:
        return images
    pieces = [
        torch.nn.functional.interpolate(piece.float(), (size, size), mode="bilinear", antialias=True).round().to(torch.uint8)
        for piece in images.split(64)
    ]
    return torch.cat(pieces)
