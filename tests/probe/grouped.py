"""Samples that are groups of images of one label, and what takes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gancore


class Groups(gancore.Sampler):
    """Draws several images of one label as one sample.

    Args:
        size: How many.
    """

    def __init__(self, *, size: int = 3) -> None:
        super().__init__()
        self.group = size

    def grouping(self, labels: Tensor, weights: Tensor | None) -> gancore.Grouping:
        members = [(labels == label).nonzero().flatten() for label in range(int(labels.max()) + 1)]

        def group(first: Tensor, noise: torch.Generator) -> Tensor:
            rows = []
            for index in first.tolist():
                others = members[labels[index]]
                others = others[others != index]
                rows.append(
                    torch.cat([torch.tensor([index]), others[torch.randperm(len(others), generator=noise)[: self.group - 1]]])
                )
            return torch.stack(rows)

        return group


class GroupGenerator(gancore.Generator):
    """One linear layer to all images of a group."""

    groups = True

    def __init__(self, *, latent_dim: int, channels: int, image_size: int, group_size: int) -> None:
        super().__init__()
        self.latent_dim, self.shape = latent_dim, (group_size, channels, image_size, image_size)
        self.linear = nn.Linear(latent_dim, group_size * channels * image_size**2)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.tanh(self.linear(z)).view(-1, *self.shape)


class GroupDiscriminator(gancore.Discriminator):
    """Features of each image, and their mean over the group (as PacGAN and Deep Sets judge several at once)."""

    groups = True
    features = 8

    def __init__(self, *, channels: int, image_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels * image_size**2, 8), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        assert x.ndim == 5
        features: Tensor = self.layers(x.flatten(2)).mean(1)
        return features


class Spread(gancore.LossTerm):
    """Asks for a group's images, and takes them."""

    groups = True

    def generator(self, *, real: Tensor, fake: Tensor) -> Tensor:
        return (gancore.global_mean(fake.var(1).mean()) - gancore.global_mean(real.var(1).mean())).square()
