"""What every measurement does: it stands in front of the discriminator, or, for the baselines, changes real images alone."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import attrs
import torch
from torch import Tensor

import gancore

Mode = Literal["ambient", "ignore", "unmeasure"]

Blank = Annotated[float, gancore.Range(-1, 1)]


class Measurement(gancore.Sampler):
    """y = f(x; theta) with theta drawn anew for each image, of a group too, that the discriminator sees (AmbientGAN).

    D tells measured real images from measured generated ones, so where the distribution of x is determined by that of y, the
    generator learns that of x, of which D never sees a sample. Scores and samples are of x.

    Args:
        mode: ``ambient`` measures real and generated images; ``ignore``, a baseline, real images alone, so that the generator
            learns measurements; ``unmeasure``, a baseline, real images alone, and inverts each measurement approximately.
        blank: Value of a pixel that the paper's equations call 0: black, or 0 for gray.
    """

    groups: ClassVar[bool] = True

    def __init__(self, *, mode: Mode = "ambient", blank: Blank = -1.0) -> None:
        super().__init__()
        self.mode = mode
        self.blank = blank

    def theta(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return the parameters (N, ...) of the measurements of images (N, C, H, W)."""
        raise NotImplementedError

    def measure(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return measurements (N, C, H, W) of images whose blank is 0; differentiable in `x`."""
        raise NotImplementedError

    def unmeasure(self, y: Tensor, theta: Tensor) -> Tensor:
        """Return an estimate of the images (N, C, H, W) that were measured."""
        raise NotImplementedError

    def draw(self, batch: gancore.Drawn, noise: torch.Generator) -> gancore.Drawn:
        """Return the batch with its real images measured, and unmeasured, for the baselines."""
        if self.mode == "ambient":
            return batch
        return attrs.evolve(batch, real=self._seen(batch.real, noise))

    def view(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return measurements (N, C, H, W) of images, real or generated; the images themselves for the baselines."""
        if self.mode != "ambient":
            return images
        return self._seen(images, noise)

    def _seen(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return what is seen of images (N, C, H, W), or of each image of groups (N, k, C, H, W)."""
        if images.ndim == 5:
            return self._seen(images.flatten(0, 1), noise).view_as(images)
        theta = self.theta(images, noise)
        y = self.measure(images - self.blank, theta)
        return (self.unmeasure(y, theta) if self.mode == "unmeasure" else y) + self.blank
