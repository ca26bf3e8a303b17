"""What critics maximize: a mean over real images less a mean over generated ones (Im et al. 2018, arXiv:1803.01045, Table 1).

Each is the paper's J(f) = E mu(f(x)) - E nu(f(s)) plus a constant, so that 0 is the value of the best critic where nothing
tells real and generated images apart. On images that a critic has not learned from it may be below.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from gancore import GancoreError


def gc(real: Tensor, fake: Tensor) -> Tensor:
    """Return E log f(x) + E log(1 - f(s)) + log 4, twice the Jensen-Shannon divergence in nats for the best f: at most log 4.

    Args:
        real: Logits (N,) of real images, of which f is the logistic function.
        fake: Logits (M,) of generated images.
    """
    return F.logsigmoid(real).mean() + F.logsigmoid(-fake).mean() + math.log(4)


def ls(real: Tensor, fake: Tensor) -> Tensor:
    """Return -E (f(x) - b)^2 - E (f(s) - a)^2 + 1/2 for a = 0 and b = 1, which the paper leaves open: at most 1/2.

    Args:
        real: f (N,) of real images.
        fake: f (M,) of generated images.
    """
    return 0.5 - (real - 1).square().mean() - fake.square().mean()


def iw(real: Tensor, fake: Tensor) -> Tensor:
    """Return E f(x) - E f(s), the Wasserstein distance for the best f of Lipschitz constant 1."""
    return real.mean() - fake.mean()


class Witness:
    """The best f in the unit ball of a Gaussian kernel's space, which is known: MMD needs no training.

    f(t) = (mean over x of k(x, t) - mean over s of k(s, t)) / MMD(x, s), with k(a, b) = exp(-|a - b|^2 / (2 w^2)).

    Args:
        real: Real images (N, F) that it is made from.
        fake: Generated images (M, F).
        bandwidth: w; None for the median distance between two of the real images.

    Raises:
        GancoreError: There is no such distance, or it is 0, for most of the real images are the same.
    """

    def __init__(self, real: Tensor, fake: Tensor, bandwidth: float | None = None) -> None:
        self.sides = real.double(), fake.double()
        self.bandwidth = _median_distance(self.sides[0]) if bandwidth is None else torch.tensor(bandwidth).double()
        if not self.bandwidth > 0:
            raise GancoreError("MMD: the median distance of the real images is 0; set the metric's bandwidth above 0.")
        square = self._above(self.sides[0]).mean() - self._above(self.sides[1]).mean()
        self.norm = square.clamp_min(0).sqrt()

    def __call__(self, points: Tensor) -> Tensor:
        """Return f (N,) float64 of points (N, F); 0 where real and generated images are the same."""
        values = self._above(points.double())
        return torch.where(self.norm > 0, values / self.norm, torch.zeros_like(values))

    def _above(self, points: Tensor) -> Tensor:
        real, fake = (torch.exp(-torch.cdist(points, side).square() / (2 * self.bandwidth.square())) for side in self.sides)
        return real.mean(1) - fake.mean(1)


def _median_distance(points: Tensor) -> Tensor:
    """Return the median distance of two of several points (N, F); 0 of one alone."""
    return torch.pdist(points).median() if len(points) > 1 else points.new_zeros(())
