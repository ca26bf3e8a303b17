"""The networks, heads, terms, samplers and attack of a run, built from a plan."""

from __future__ import annotations

import torch
from torch import Tensor

from gancore.contract import Classifier
from gancore.errors import GancoreError


class Normalized(Classifier):
    """A classifier behind its own normalization of the input, which core's images in [-1, 1] do not have.

    Args:
        network: The classifier.
        mean: Per channel, on the [0, 1] scale.
        std: Per channel, on the [0, 1] scale.
        where: Names the place for errors.
    """

    def __init__(self, network: Classifier, mean: list[float], std: list[float], *, where: str) -> None:
        super().__init__()
        if len(mean) != len(std):
            raise GancoreError(f"{where}: input_mean has {len(mean)} channels and input_std {len(std)}; they must agree.")
        self.network = network
        self.features = network.features
        self.classes = network.classes
        self.register_buffer("scale", 0.5 / torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", ((0.5 - torch.tensor(mean)) / torch.tensor(std)).view(1, -1, 1, 1), persistent=False)
        self.scale: Tensor
        self.shift: Tensor

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to the classifier's features (N, F)."""
        return self.network.embed(x * self.scale + self.shift)

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        return self.network.classify(features)
