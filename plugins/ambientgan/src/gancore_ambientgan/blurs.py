"""The measurement that blurs and adds noise."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

import gancore
from gancore_ambientgan.inversion import convolved, deconvolved, gaussian_kernel
from gancore_ambientgan.measuring import Blank, Measurement, Mode


class ConvolveNoise(Measurement):
    """y = k * x + theta: a Gaussian kernel, and noise theta ~ N(0, deviation^2) for each value (Convolve+Noise).

    Args:
        radius: Standard deviation of the kernel, in pixels.
        size: Height and width of the kernel, an odd number of pixels no larger than the images; 1 does not blur.
        deviation: Of the noise, on the [-1, 1] scale of images: twice that of the paper's MNIST in [0, 1].
        power: Mean square of images whose blank is 0, for Wiener's deconvolution, by which the baseline ``unmeasure`` inverts;
            that of MNIST by default.
        image_size: Height and width of images, from core.
        mode: See `Measurement`.
        blank: See `Measurement`.
    """

    def __init__(
        self,
        *,
        radius: Annotated[float, gancore.Range(0.01)] = 1.0,
        size: Annotated[int, gancore.Range(1)] = 5,
        deviation: Annotated[float, gancore.Range(0)] = 0.4,
        power: Annotated[float, gancore.Range(0, open_low=True)] = 0.448,
        image_size: int,
        mode: Mode = "ambient",
        blank: Blank = -1.0,
    ) -> None:
        super().__init__(mode=mode, blank=blank)
        if size % 2 == 0 or size > image_size:
            raise gancore.GancoreError(
                f"the kernel of a blur has an odd size, at most the {image_size} pixels of the images, not {size}; change size."
            )
        self.register_buffer("kernel", gaussian_kernel(radius, size), persistent=False)
        self.kernel: Tensor
        self.deviation = deviation
        self.power = power

    def theta(self, images: Tensor, noise: torch.Generator) -> Tensor:
        """Return the noise (N, C, H, W)."""
        return self.deviation * gancore.randn(images.shape, noise)

    def measure(self, x: Tensor, theta: Tensor) -> Tensor:
        """Return x after the kernel, plus theta."""
        return convolved(x, self.kernel) + theta

    def unmeasure(self, y: Tensor, theta: Tensor) -> Tensor:
        """Return the images that Wiener's deconvolution gives, in the range of images."""
        return deconvolved(y, self.kernel, self.deviation**2 / self.power).clamp(-1 - self.blank, 1 - self.blank)
