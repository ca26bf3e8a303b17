"""The base classes of image sets and of samplers, and the drawn batch that samplers see."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from gancore.errors import GancoreError

# dynamo looks for what attrs' constructor of `Drawn` compares with in this module; without it no sampler's draw compiles.
NOTHING = attrs.NOTHING

Grouping = Callable[[Tensor, torch.Generator], Tensor]
"""Maps the indices (N,) int64 of images that are drawn, and noise, to those of each sample (N, k), which has the label of its
first image. On the CPU."""


@attrs.define
class Drawn:
    """A drawn batch of data, as samplers see it. A sampler returns a changed copy (`attrs.evolve`).

    Attributes:
        real: Images (N, C, H, W) float32 in [-1, 1].
        real_label: Labels (N,) int64.
        sides: Images (N, C, H, W) and labels (N,) of each further side: the recipe's sources, and what samplers add.
        joined: For a generated side, images (M, C, H, W) and labels (M,), M below N, that the discriminator sees in its own
            turn as if they were of that side. They stand in the places of as many generated images, the last of the N that
            the generator makes, so that each side keeps its N rows.
        blended: For a side, images (N, C, H, W) that its own are blended with where the discriminator sees them, in the space
            of images or of the features that it stands on, and each own image's share (N,) of the blend, in [0, 1].
    """

    real: Tensor
    real_label: Tensor
    sides: Mapping[str, tuple[Tensor, Tensor]] = attrs.field(factory=dict)
    joined: Mapping[str, tuple[Tensor, Tensor]] = attrs.field(factory=dict)
    blended: Mapping[str, tuple[Tensor, Tensor]] = attrs.field(factory=dict)


class Sampler(nn.Module):
    """Which data take part, and what becomes of a drawn batch. Override any of the methods.

    `select` and `weights` are about the recipe's data, or about one of its sources where the recipe's key ``of`` names it.
    """

    adds: Collection[str] = ()
    """Labels of the sides that `draw` adds to the batch; a term may ask for them as for those of sources."""

    joins: Collection[str] = ()
    """Generated sides that `draw` joins images to."""

    blends: Collection[str] = ()
    """Sides that `draw` blends with other images."""

    group: int = 1
    """Images k of one sample; above 1, `real` and what generators make are (N, k, C, H, W), and `grouping` says which."""

    def grouping(self, labels: Tensor, weights: Tensor | None) -> Grouping:
        """Return what makes samples of images. Called once.

        Args:
            labels: Labels (N,), or attributes (N, A), of all images that take part.
            weights: How often each is drawn, relative (N,), or None.
        """
        raise NotImplementedError

    @classmethod
    def selects(cls) -> bool:
        """Return whether it chooses among the data, as `select` and `weights` do."""
        return cls.select is not Sampler.select or cls.weights is not Sampler.weights

    def reads(self) -> Collection[str]:
        """Return the labels of the sources that `draw` reads; a recipe without one of them is refused."""
        return ()

    def select(self, labels: Tensor, seed: int) -> Tensor:
        """Return the indices (M,) int64 of the items that take part, of `labels` (N,). Called once, on the CPU.

        Args:
            labels: Labels of the items that earlier samplers left.
            seed: The run's seed, for a choice at random.
        """
        return torch.arange(len(labels))

    def weights(self, labels: Tensor) -> Tensor | None:
        """Return how often each item is drawn, relative (N,) float64, or None for every item once per epoch."""
        return None

    def draw(self, batch: Drawn, noise: torch.Generator) -> Drawn:
        """Return what becomes of a drawn batch: noise on its images, sides added, images joined to a side or blended."""
        return batch

    def view(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return what stands between an image, real or fake, and the discriminator; differentiable."""
        return images


@attrs.frozen
class DatasetInfo:
    """What is known of an image set before an image is read.

    Attributes:
        classes: Number of classes K; 0 where an image has attributes.
        channels: Number of channels C.
        image_size: Height and width, in pixels, after resizing.
        class_names: One name per class, or per attribute.
        continuous: Whether `Dataset.load` gives float32 in [-1, 1] instead of 8-bit pixels (points in the plane).
        attributes: Number of attributes A, each of which an image has (1) or has not (0).
    """

    classes: int
    channels: int
    image_size: int
    class_names: tuple[str, ...] = ()
    continuous: bool = False
    attributes: int = 0


class Images:
    """Images that are read by their places when they are wanted; `Dataset.load` may return them in place of a tensor.

    What is read depends on the place alone. They can be pickled, so that other processes read them too.

    Attributes:
        shape: (N, C, H, W).
        fingerprint: Changes when what they are read from does (names, sizes, times), and is told without reading it.
    """

    shape: torch.Size
    fingerprint: str
    dtype = torch.uint8
    device = torch.device("cpu")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, places: Tensor | slice) -> Tensor:
        return self.read(torch.arange(len(self))[places] if isinstance(places, slice) else places)

    def read(self, places: Tensor) -> Tensor:
        """Return the images (n, C, H, W) uint8 at places (n,) int64, on the CPU; in any order, and some more than once."""
        raise NotImplementedError

    def reader(self, places: Callable[[int], Tensor], device: torch.device, workers: int | None) -> Callable[[int], Tensor]:
        """Return what reads the images of a draw, those at ``places(draw)`` (n,), a pure function; a subclass may read ahead.

        Draws mostly follow each other. The images go to `device`; `workers` is ``run.workers``.
        """
        return lambda draw: self.read(places(draw))

    def chosen(self, places: Tensor) -> Images:
        """Return those at some places (M,) int64, of which no copy is made."""
        return _Chosen(self, places)


Rows = Tensor | Images
"""What gives rows as a tensor, by slices and by places (n,)."""


class _Chosen(Images):
    def __init__(self, images: Images, places: Tensor) -> None:
        self.images, self.places = images, places
        self.shape = torch.Size((len(places), *images.shape[1:]))

    def read(self, places: Tensor) -> Tensor:
        return self.images.read(self.places[places])

    def reader(self, places: Callable[[int], Tensor], device: torch.device, workers: int | None) -> Callable[[int], Tensor]:
        return self.images.reader(lambda draw: self.places[places(draw)], device, workers)


class Dataset:
    """A set of labeled images. Building one reads no image; a missing folder raises `GancoreError` in `load`."""

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        raise NotImplementedError

    def load(self, split: str) -> tuple[Rows, Tensor]:
        """Return images (N, C, H, W) uint8 and labels (N,), or attributes (N, A), int64 of a split, ``"train"`` or ``"test"``.

        Where `info` says that they are continuous, they are float32 in [-1, 1] instead. The images may be a memory-mapped
        tensor, which core moves to the device where it fits, or `Images`.
        """
        raise NotImplementedError


def load_split(dataset: Dataset, split: str) -> tuple[Rows, Tensor]:
    """Return what `Dataset.load` gives. Whatever reads a data set asks here, so that each is held to its `info`.

    Raises:
        GancoreError: As `load` does; or images and labels are not what `info` says in number, shape, type or range.
    """
    loaded = dataset.load(split)
    problem = _difference(dataset.info, loaded)
    if problem:
        raise GancoreError(
            f"the {split} split of the data set {type(dataset).__name__} {problem}; correct its files, or its code."
        )
    return loaded


def _difference(info: DatasetInfo, loaded: tuple[Any, Any]) -> str:
    if not (isinstance(loaded, tuple) and len(loaded) == 2 and all(isinstance(x, Tensor | Images) and x.shape for x in loaded)):
        return "is no pair of tensors, images and labels"
    images, labels = loaded
    rows = (len(images), info.attributes) if info.attributes else (len(images),)
    size, kind = (len(images), info.channels, *2 * (info.image_size,)), torch.float32 if info.continuous else torch.uint8
    for name, values, shape, dtype in (("images", images, size, kind), ("labels", labels, rows, torch.int64)):
        if values.shape != shape or values.dtype != dtype:
            return f"has {name} of shape {tuple(values.shape)} and type {values.dtype}, not {shape} and {dtype}"
    if not len(images):
        return "holds no image"
    ranges = [("label", labels, 0, (info.classes or 2) - 1), *[("value", images, -1, 1)] * info.continuous]
    for name, values, low, high in ranges:
        # What is no number lies in no range.
        outside = [extreme for extreme in map(float, values.aminmax()) if not low <= extreme <= high]
        if outside:
            return f"has a {name} of {outside[-1]:g}, not from {low} to {high}"
    return ""
