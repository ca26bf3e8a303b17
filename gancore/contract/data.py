"""The base classes of image sets and of samplers, and the drawn batch that samplers see."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import ClassVar

import attrs
import torch
from torch import Tensor, nn

# dynamo looks for what attrs' constructor of `Drawn` compares with in this module; without it no sampler's draw compiles.
NOTHING = attrs.NOTHING


@attrs.define
class Drawn:
    """A drawn batch of data, as samplers see it. A sampler returns a changed copy (`attrs.evolve`).

    Attributes:
        real: Images (N, C, H, W) float32 in [-1, 1].
        real_label: Labels (N,) int64.
        negatives: Images that the discriminator must call fake, or None. They *replace* as many generated images, so that
            the fake minibatch keeps its size (DSGAN, appendix C).
        negatives_label: Their labels.
        negatives_share: None, or their share alpha of the discriminator's loss. Then there are as many of them as of real
            images, and they replace none: the loss is (1 - alpha) times that of real against generated images plus alpha
            times that of real images against negatives (DSGAN, Eq. 2).
        partner: None, or images (N, C, H, W) that the real ones are blended with where the discriminator sees them: in the
            space of images, or of the features that it stands on.
        share: Share (N,) of each real image in its blend.
        sources: Images and labels of each further stream of the recipe, as many as of real ones.
    """

    real: Tensor
    real_label: Tensor
    negatives: Tensor | None = None
    negatives_label: Tensor | None = None
    negatives_share: float | None = None
    partner: Tensor | None = None
    share: Tensor | None = None
    sources: Mapping[str, tuple[Tensor, Tensor]] = attrs.field(factory=dict)


class Sampler(nn.Module):
    """Which data take part, and what becomes of a drawn batch. Override any of the methods.

    `select` and `weights` are about the recipe's data, or about one of its sources where the recipe's key ``of`` names it.
    """

    gives_negatives: ClassVar[bool] = False
    """Whether `draw` adds negatives to the batch."""

    gives_share: bool = False
    """Whether those negatives have a share of the loss of their own, for the counts of ``gancore explain``."""

    gives_partner: bool = False
    """Whether `draw` blends the real images with others, for the counts of ``gancore explain``."""

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
        """Return what becomes of a drawn batch (noise, mixtures, negatives)."""
        return batch

    def view(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return what stands between an image, real or fake, and the discriminator; differentiable."""
        return images


@attrs.frozen
class DatasetInfo:
    """What is known of an image set before an image is read.

    Attributes:
        classes: Number of classes K.
        channels: Number of channels C.
        image_size: Height and width, in pixels, after resizing.
        class_names: One name per class.
        continuous: Whether `Dataset.load` gives float32 in [-1, 1] instead of 8-bit pixels (points in the plane).
    """

    classes: int
    channels: int
    image_size: int
    class_names: tuple[str, ...] = ()
    continuous: bool = False


class Dataset:
    """A set of labelled images. Building one reads no image; a missing folder raises `GancoreError` in `load`."""

    @property
    def info(self) -> DatasetInfo:
        """What is known before an image is read."""
        raise NotImplementedError

    def load(self, split: str) -> tuple[Tensor, Tensor]:
        """Return images (N, C, H, W) uint8 and labels (N,) int64 of a split, ``"train"`` or ``"test"``.

        Where `info` says that they are continuous, they are float32 in [-1, 1] instead. The images may be a memory-mapped
        tensor; core moves them to the device where they fit.
        """
        raise NotImplementedError
