"""Square-root sampling (Mahajan et al. 2018, "Exploring the Limits of Weakly Supervised Pretraining")."""

from typing import Annotated

import torch
from torch import Tensor

import gancore


class SquareRoot(gancore.Sampler):
    """Draws each class in proportion to its number of images to a power, so that rare ones come oftener (arXiv:1805.00932).

    Args:
        power: 0.5 for the square root; 1 changes nothing, 0 balances the classes.
    """

    def __init__(self, *, power: Annotated[float, gancore.Range(0, 1)] = 0.5) -> None:
        super().__init__()
        self.power = power

    def weights(self, labels: Tensor) -> Tensor:
        """Return how often each image (N,) is drawn, relative: a class of n images n to the power, each of its images alike."""
        sizes = torch.bincount(labels).double()
        return sizes[labels] ** (self.power - 1)
