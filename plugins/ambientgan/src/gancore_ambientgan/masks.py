"""Measurements that block pixels: at random, a square, or all but a square."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore
from gancore_ambientgan.inversion import blurred, inpainted
from gancore_ambientgan.measuring import Blank, Measurement, Mode

Size = Annotated[int, gancore.Range(1)]


class BlockPixels(Measurement):
    """Sets each value to the blank with probability p, and the others to 1 / (1 - p) of what they are above it.

    The paper's text blocks and leaves the rest as it is; its public code divides by 1 - p, and blocks each channel's value by
    itself.

    Args:
        probability: The probability p of being blocked.
        unit: What is blocked as one: a pixel, a row or a column of a channel.
        rescale: Divide what is not blocked by 1 - p.
        inverse: How the baseline ``unmeasure`` inverts: a Gaussian ``blur`` of radius 1, or ``inpaint``, which has the blocked
            pixels solve Laplace's equation.
        mode: See `Measurement`.
        blank: See `Measurement`.
    """

    def __init__(
        self,
        *,
        probability: Annotated[float, gancore.Range(0, 1, open_high=True)] = 0.5,
        unit: Literal["pixel", "row", "column"] = "pixel",
        rescale: bool = True,
        inverse: Literal["blur", "inpaint"] = "blur",
        mode: Mode = "ambient",
        blank: Blank = -1.0,
    ) -> None:
        super().__init__(mode=mode, blank=blank)
        self.probability = probability
        self.unit = unit
        self.scale = 1 - probability if rescale else 1.0
        self.inverse = inverse

    def theta(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return factors (N, C, H, W), (N, C, H, 1) of rows, or (N, C, 1, W) of columns: 0, or 1 / (1 - p)."""
        n, channels, height, width = images.shape
        shape = (n, channels, 1 if self.unit == "column" else height, 1 if self.unit == "row" else width)
        return (gancore.rand(shape, noise) >= self.probability).to(images.dtype) / self.scale

    def measure(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return x times theta."""
        return x * theta

    def unmeasure(self, y: Tensor, theta: Tensor) -> Tensor:
        """Return the images blurred or inpainted."""
        return blurred(y) if self.inverse == "blur" else inpainted(y * self.scale, theta > 0)


class Patch(Measurement):
    """What is there of a square at a place that is drawn for each image.

    Args:
        size: Height and width k of the square.
        image_size: Height and width H of images, from core.
        mode: See `Measurement`.
        blank: See `Measurement`.
    """

    def __init__(self, *, size: Size, image_size: int, mode: Mode = "ambient", blank: Blank = -1.0) -> None:
        super().__init__(mode=mode, blank=blank)
        if size > image_size:
            raise gancore.GancoreError(f"a patch of {size} pixels is larger than images of {image_size}; lower size.")
        self.size = size

    def corners(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return the first row and column (N, 2) int64 of each square, each from 0 to H - k."""
        return (gancore.rand((len(images), 2), noise) * (images.shape[2] - self.size + 1)).long()

    def inside(self, corners: Tensor, image_size: int) -> Tensor:
        """Return which pixels (N, 1, H, H) lie in the squares."""
        place = torch.arange(image_size, device=corners.device) - corners[:, :, None]
        rows, columns = ((place >= 0) & (place < self.size)).unbind(1)
        return (rows[:, :, None] & columns[:, None, :])[:, None]

    def measure(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return x times theta."""
        return x * theta


class BlockPatch(Patch):
    """Sets the pixels of a square at a random place to the blank.

    Args:
        size: Height and width k of the square.
        image_size: Height and width H of images, from core.
        mode: See `Measurement`; the baseline ``unmeasure`` has the blocked pixels solve Laplace's equation.
        blank: See `Measurement`.
    """

    def theta(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return factors (N, 1, H, H): 0 in the square, and 1."""
        return (~self.inside(self.corners(images, noise), images.shape[2])).to(images.dtype)

    def unmeasure(self, y: Tensor, theta: Tensor) -> Tensor:
        """Return the images inpainted."""
        return inpainted(y, theta > 0)


class KeepPatch(Patch):
    """Sets all pixels outside of a square at a random place to the blank.

    Args:
        size: Height and width k of the square.
        image_size: Height and width H of images, from core.
        mode: See `Measurement`.
        blank: See `Measurement`.
    """

    def __init__(
        self, *, size: Size, image_size: int, mode: Literal["ambient", "ignore"] = "ambient", blank: Blank = -1.0
    ) -> None:
        super().__init__(size=size, image_size=image_size, mode=mode, blank=blank)

    def theta(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return factors (N, 1, H, H): 1 in the square, and 0."""
        return self.inside(self.corners(images, noise), images.shape[2]).to(images.dtype)


class ExtractPatch(KeepPatch):
    """Moves a square of a random place to the center, and sets all else to the blank, so that nobody sees where it was.

    Args:
        size: Height and width k of the square.
        image_size: Height and width H of images, from core.
        mode: See `Measurement`.
        blank: See `Measurement`.
    """

    def theta(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return the first row and column (N, 2) of each square."""
        return self.corners(images, noise)

    def measure(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return the squares, centered."""
        places = theta[:, :, None] + torch.arange(self.size, device=theta.device)
        rows = places[:, None, 0, :, None].expand(-1, x.shape[1], -1, x.shape[3])
        columns = places[:, None, 1, None, :].expand(-1, x.shape[1], self.size, -1)
        before = (x.shape[2] - self.size) // 2
        after = x.shape[2] - self.size - before
        return F.pad(x.gather(2, rows).gather(3, columns), (before, after, before, after))
