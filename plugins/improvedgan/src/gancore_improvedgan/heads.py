"""Minibatch discrimination: heads that compare each image with the others of its batch."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from gancore_standard.tools import spectral
from torch import Tensor, nn

import gancore

Count = Annotated[int, gancore.Range(1)]
Scale = Annotated[float, gancore.Range(0, open_low=True)]


class Closeness(nn.Module):
    """Appends to each image's features how close the others' are (section 3.2).

    With M_i = f(x_i) W (B, C) the appended are o(x_i)_b = sum_j exp(-||M_ib - M_jb||_1) + b_b over the other images j of the
    batch. As in the authors' code each row of W has a length of its own that is trained, and b starts at -1.

    Args:
        features: Width F of the features.
        kernels: Number B of what is appended.
        width: Width C of each comparison.
        scale: Length that the rows of W start with. The authors set it by data; features of deviation 1 want about 1.
    """

    def __init__(self, features: int, kernels: int, width: int, scale: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(0.05 * torch.randn(features, kernels, width))
        self.log_length = nn.Parameter(torch.full((kernels, width), scale).log())
        self.bias = nn.Parameter(torch.full((kernels,), -1.0))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (N, F) to (N, F + B)."""
        weight = self.theta * (self.log_length.exp() / torch.linalg.vector_norm(self.theta, dim=0))
        own = (features @ weight.flatten(1)).unflatten(1, self.bias.shape + weight.shape[2:])
        distances = (own[:, None] - gancore.gather(own)[None]).abs().sum(3)
        # Every image is close to itself, by exp(0) = 1, which is no comparison.
        closeness = torch.exp(-distances).sum(1) - 1 + self.bias
        return torch.cat([features, closeness], 1)


class Minibatch(gancore.Head):
    """One logit per image, of its features and of how close the others' are (section 3.2).

    Args:
        features: Width F of the features, from core.
        kernels: Numbers that are appended to the features.
        width: Width of each comparison.
        scale: Length that the rows of its weights start with; less where features are large.
        spectral_norm: Spectral norm of the last layer, as the discriminator has it unless set.
    """

    batch_statistics: ClassVar[bool] = True

    def __init__(
        self, *, features: int, kernels: Count = 100, width: Count = 5, scale: Scale = 1.0, spectral_norm: bool = False
    ) -> None:
        super().__init__()
        self.closeness = Closeness(features, kernels, width, scale)
        self.linear = nn.Linear(features + kernels, 1)
        spectral(self.linear, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) to logits (N,)."""
        logits: Tensor = self.linear(self.closeness(features))
        return logits.squeeze(1)


class MinibatchClasses(gancore.Head):
    """Class logits of each image, of its features and of how close the others' are (sections 3.2 and 5).

    Args:
        features: Width F of the features, from core.
        classes: Number of classes K, from core.
        kernels: Numbers that are appended to the features.
        width: Width of each comparison.
        scale: Length that the rows of its weights start with; less where features are large.
        spectral_norm: Spectral norm of the last layer, as the discriminator has it unless set.
    """

    batch_statistics: ClassVar[bool] = True
    gives_classes: ClassVar[bool] = True

    def __init__(
        self,
        *,
        features: int,
        classes: int,
        kernels: Count = 100,
        width: Count = 5,
        scale: Scale = 1.0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.closeness = Closeness(features, kernels, width, scale)
        self.linear = nn.Linear(features + kernels, classes)
        spectral(self.linear, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.linear(self.closeness(features))
        return logits
