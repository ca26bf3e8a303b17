"""Images of ten classes, what is drawn from them, and latents."""

from __future__ import annotations

import functools
from typing import Annotated

import torch
from gancore_testing import components
from torch import Tensor
from torch.nn import functional as F

import gancore
from gancore import GancoreError

EACH = {"train": 144, "test": 36}
"""Images per class."""


@functools.cache
def _images(split: str) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(len(split))
    prototypes = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10 * EACH[split]) % 10
    images = 0.7 * prototypes[labels] + 0.3 * torch.rand(len(labels), 1, 8, 8, generator=noise)
    return (255 * images).to(torch.uint8), labels


class Digits(gancore.Dataset):
    """Gray images of 8x8 pixels, noise around a pattern for each of ten classes.

    Args:
        image_size: Pixels a side.
    """

    def __init__(self, *, image_size: Annotated[int, gancore.Range(1)] = 8) -> None:
        self.image_size = image_size

    @property
    def info(self) -> gancore.DatasetInfo:
        return gancore.DatasetInfo(10, 1, self.image_size, tuple("0123456789"))

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        images, labels = _images(split)
        return F.interpolate(images.float(), self.image_size).to(torch.uint8), labels


class LongTail(gancore.Sampler):
    """Fewer images of each class than of the one before.

    Args:
        ratio: Images of the first class for one of the last.
    """

    def __init__(self, *, ratio: Annotated[float, gancore.Range(1)] = 100.0) -> None:
        super().__init__()
        self.ratio = ratio

    def select(self, labels: Tensor, seed: int) -> Tensor:
        classes = labels.unique()
        members = [(labels == label).nonzero().flatten() for label in classes]
        rates = [self.ratio ** (-rank / max(len(classes) - 1, 1)) for rank in range(len(classes))]
        return torch.cat([own[: int(len(labels) / len(classes) * rate)] for own, rate in zip(members, rates, strict=True)])


class PerClass(gancore.Sampler):
    """So many images of each class, chosen at random.

    Args:
        count: How many.
    """

    def __init__(self, *, count: Annotated[int, gancore.Range(1)]) -> None:
        super().__init__()
        self.count = count

    def select(self, labels: Tensor, seed: int) -> Tensor:
        noise, chosen = torch.Generator().manual_seed(seed), []
        for label in labels.unique():
            own = (labels == label).nonzero().flatten()
            if len(own) < self.count:
                raise GancoreError(f"class {label} has only {len(own)} images, fewer than count = {self.count}; lower count.")
            chosen.append(own[torch.randperm(len(own), generator=noise)[: self.count]])
        return torch.cat(chosen)


class TakeClasses(gancore.Sampler):
    """Some classes alone.

    Args:
        keep: Their labels.
    """

    def __init__(self, *, keep: list[int], classes: int) -> None:
        super().__init__()
        if not keep:
            raise GancoreError("keep names no class; name one or more.")
        for label in keep:
            if not 0 <= label < classes:
                raise GancoreError(f"keep names the class {label}, but the data have the classes 0 to {classes - 1}.")
        self.keep = keep

    def select(self, labels: Tensor, seed: int) -> Tensor:
        left = labels.unique().tolist()
        for label in self.keep:
            if label not in left:
                raise GancoreError(f"keep names the class {label}, but there is no image of it (there are of {left}).")
        return torch.isin(labels, torch.tensor(self.keep)).nonzero().flatten()


class ClassBalanced(gancore.Sampler):
    """Every class equally often."""

    def weights(self, labels: Tensor) -> Tensor:
        return 1 / torch.bincount(labels).double()[labels]


class Uniform(components.Normal):
    """Latents that are uniform on [-1, 1]."""

    def draw(self, number: int, noise: torch.Generator) -> gancore.Latents:
        return gancore.Latents(torch.rand((number, self.latent_dim), generator=noise, device=noise.device).mul_(2).sub_(1))
