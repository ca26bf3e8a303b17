"""Measurements with fewer numbers than an image has pixels: sums along a direction, the part along a line.

Their numbers are laid out in the shape of an image, so that any discriminator takes them. A fully connected one sees what it
would see of the numbers alone.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

import gancore
from gancore_ambientgan.measuring import Blank, Measurement


class PadRotateProject(Measurement):
    """Pads an image, rotates it by a random angle about its center, and sums its rows; several times (Pad-Rotate-Project).

    The sums, over the image's height so that they stay in its range, fill a channel from its beginning, those of one angle
    after another; each angle theta follows its sums, as theta / pi + 1. The rest is blank.

    Args:
        angles: Angles for each image; the public code takes 2.
        with_angle: Whether the measurement holds the angles (Pad-Rotate-Project-theta).
        image_size: Height and width H of images, from core.
        blank: See `Measurement`.
    """

    def __init__(
        self, *, angles: Annotated[int, gancore.Range(1)] = 2, with_angle: bool = True, image_size: int, blank: Blank = -1.0
    ) -> None:
        super().__init__(blank=blank)
        # What a diagonal needs: 6 pixels on each side of 28, and 14 of 64, as the public code has.
        self.padding = math.ceil((math.sqrt(2) - 1) / 2 * image_size)
        length = angles * (image_size + 2 * self.padding + with_angle)
        if length > image_size**2:
            raise gancore.GancoreError(
                f"{angles} angles give {length} numbers, and an image of {image_size} pixels a side has no place for them; "
                "lower angles."
            )
        self.angles = angles
        self.with_angle = with_angle

    def theta(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return the angles (N, angles), uniform from -pi to pi."""
        return (2 * gancore.rand((len(images), self.angles), noise) - 1) * math.pi

    def measure(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return the sums, and their angles, in the shape of the images."""
        numbers = []
        for angle in theta.unbind(1):
            numbers.append(self.sums(x, angle) / x.shape[2])
            if self.with_angle:
                numbers.append((angle / math.pi + 1).view(-1, 1, 1).expand(-1, x.shape[1], 1))
        whole = torch.cat(numbers, 2)
        return F.pad(whole, (0, x.shape[2] * x.shape[3] - whole.shape[2])).view(x.shape)

    def sums(self, x: Tensor, angle: Tensor) -> Tensor:
        """Return the sums (N, C, P) of the rows of padded images (N, C, P, P) that are rotated by angles (N,)."""
        padded = F.pad(x, (self.padding,) * 4)
        cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
        turn = torch.stack([torch.stack([cos, -sin, zero], 1), torch.stack([sin, cos, zero], 1)], 1)
        grid = F.affine_grid(turn.to(x.dtype), list(padded.shape), align_corners=False)
        return F.grid_sample(padded, grid, align_corners=False).sum(3)


class GaussianProjection(Measurement):
    """Projects an image on a random Gaussian vector theta, which the measurement holds (Gaussian-Projection).

    The paper's measurement is (theta, <theta, x>). This one is sqrt(n) <u, x> u, with u = theta / |theta| and n values of an
    image: it holds u, but for a sign that takes that of <u, x> with it, and <u, x>. The length of theta says nothing of x.

    Args:
        blank: See `Measurement`.
    """

    def __init__(self, *, blank: Blank = -1.0) -> None:
        super().__init__(blank=blank)

    def theta(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return vectors (N, C, H, W), standard normal."""
        return gancore.randn(images.shape, noise)

    def measure(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return the part of each image along its line, times sqrt(n)."""
        line = F.normalize(theta.flatten(1), dim=1)
        along = (line * x.flatten(1)).sum(1, keepdim=True)
        return (math.sqrt(line.shape[1]) * along * line).view(x.shape)
