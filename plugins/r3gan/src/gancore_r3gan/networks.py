"""R3GAN's networks (arXiv:2501.05441, section 3): bottlenecks of grouped convolutions, bilinear resampling, no normalization.

A stage for each size of the maps, from 4 x 4 to the image, is a change of size and residual blocks, each of which starts as the
identity (fix-up initialization), so that the signal keeps its size at any depth.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

import torch
from gancore_standard.tools import spectral
from torch import Tensor, nn
from torch.nn import functional as F

import gancore

SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # before a leaky ReLU it keeps the signal's size (He et al. 2015)
EXPANSION = 2  # of the maps within a block

Count = Annotated[int, gancore.Range(1)]
Layer = TypeVar("Layer", nn.Conv2d, nn.Linear, nn.Embedding)


class R3Generator(gancore.Generator):
    """A learned 4 x 4 basis, scaled by the latent, then stages of residual blocks that each double the size.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 4, from core.
        classes: Number of classes K, from core.
        latent_dim: Width of the latent, from core (64 in the paper).
        maps: Numbers of maps of the stages, from 4 x 4 on, or one for all; 192 on CIFAR-10, up to 1,536 on larger data.
        group_width: Maps of a group of the 3 x 3 convolutions; 4 on CIFAR-10, up to 32 on larger data.
        blocks: Residual blocks of a stage.
        conditional: Whether an embedding of the label is joined to the latent.
        output: What bounds the last layer: tanh, or, as in the paper, nothing.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        classes: int,
        latent_dim: int,
        maps: list[Count] | None = None,
        group_width: Count = 4,
        blocks: Count = 2,
        conditional: bool = False,
        output: Literal["tanh", "linear"] = "tanh",
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        maps = _stages(image_size, maps)
        self.embedding = _normal(nn.Embedding(classes, latent_dim), classes) if conditional else None
        self.basis = nn.Parameter(torch.randn(maps[0], 4, 4))
        width = latent_dim * (1 + conditional)
        self.scales = _normal(nn.Linear(width, maps[0], bias=False), width)
        layers: list[nn.Module] = [*_blocks(maps[0], group_width, blocks, len(maps))]
        for inner, outer in pairwise(maps):
            layers += [*_change(inner, outer), Resample(up=True), *_blocks(outer, group_width, blocks, len(maps))]
        self.layers = nn.Sequential(*layers)
        self.last = _normal(nn.Conv2d(maps[-1], channels, 1, bias=False), maps[-1])
        self.output = nn.Tanh() if output == "tanh" else nn.Identity()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) to images (N, C, H, W)."""
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(label)], 1)
        image: Tensor = self.output(self.last(self.layers(self.scales(z)[:, :, None, None] * self.basis)))
        return image


class R3Discriminator(gancore.Discriminator):
    """Stages of residual blocks that each halve the size, then a 4 x 4 filter for each map: the generator reversed.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 4, from core.
        maps: Numbers of maps of the stages, from 4 x 4 on, as for the generator.
        group_width: Maps of a group of the 3 x 3 convolutions.
        blocks: Residual blocks of a stage.
    """

    def __init__(
        self, *, channels: int, image_size: int, maps: list[Count] | None = None, group_width: Count = 4, blocks: Count = 2
    ) -> None:
        super().__init__()
        maps = _stages(image_size, maps)[::-1]
        layers: list[nn.Module] = [_normal(nn.Conv2d(channels, maps[0], 1, bias=False), channels)]
        for outer, inner in pairwise(maps):
            layers += [*_blocks(outer, group_width, blocks, len(maps)), Resample(up=False), *_change(outer, inner)]
        self.features = maps[-1]
        basis = _normal(nn.Conv2d(self.features, self.features, 4, groups=self.features, bias=False), 16)
        self.layers = nn.Sequential(*layers, *_blocks(self.features, group_width, blocks, len(maps)), basis, nn.Flatten())

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        features: Tensor = self.layers(x)
        return features


class InnerProduct(gancore.Head):
    """One logit given the label, without a part that is free of it: the inner product of an image's and a class's vector.

    Args:
        features: Width F of the features, from core.
        classes: Number of classes K, from core.
        spectral_norm: Spectral norm, as the discriminator has it unless set.
    """

    def __init__(self, *, features: int, classes: int, spectral_norm: bool = False) -> None:
        super().__init__()
        self.linear = _normal(nn.Linear(features, features, bias=False), features)
        self.embedding = _normal(nn.Embedding(classes, features), classes * features)
        for layer in (self.linear, self.embedding):
            spectral(layer, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) and labels (N,) int64 to logits (N,)."""
        logits: Tensor = (self.linear(features) * self.embedding(label)).sum(1)
        return logits


class Block(nn.Module):
    """x + conv1(act(conv3(act(conv1(x))))), the middle one grouped and of twice as many maps; at first the identity.

    Args:
        maps: Number of maps.
        group_width: Maps of a group.
        blocks: Residual blocks of the whole network, which the initialization makes up for.
    """

    def __init__(self, maps: int, group_width: int, blocks: int) -> None:
        super().__init__()
        inner = EXPANSION * maps
        if inner % group_width:
            raise gancore.GancoreError(
                f"a block of {maps} maps has {inner} within it, no multiple of its groups' width; "
                f"set 'maps' to multiples of {group_width / EXPANSION:g} or another 'group_width' than {group_width}."
            )
        gain = GAIN * blocks ** (-1 / 4)
        self.layers = nn.Sequential(
            _normal(nn.Conv2d(maps, inner, 1), maps, gain),
            nn.LeakyReLU(SLOPE),
            _normal(nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group_width), 9 * group_width, gain),
            nn.LeakyReLU(SLOPE),
            _normal(nn.Conv2d(inner, maps, 1, bias=False), inner, 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        change: Tensor = self.layers(x)
        return x + change


class Resample(nn.Module):
    """Double or halve the size by the filter [1, 3, 3, 1] in each direction, the image being 0 beyond its border.

    Args:
        up: Double.
    """

    def __init__(self, *, up: bool) -> None:
        super().__init__()
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, 2 H, 2 W) or (N, C, H / 2, W / 2)."""
        # [1, 3, 3, 1] is [1, 1] three times: two of them here, and one in what changes the size.
        x = F.interpolate(x, scale_factor=2) if self.up else x
        x = F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2, stride=1)
        return x if self.up else F.avg_pool2d(x, 2)


def _stages(image_size: int, maps: list[int] | None) -> list[int]:
    number = image_size.bit_length() - 2
    if image_size < 4 or image_size & (image_size - 1):
        raise gancore.GancoreError(
            f"R3GAN's networks are for images of a power of two of pixels, at least 4, not {image_size}; set data.image_size."
        )
    maps = maps or [192]
    if len(maps) not in (1, number):
        raise gancore.GancoreError(
            f"images of {image_size} pixels need {number} numbers of maps, or one for all stages, not {len(maps)}; set 'maps'."
        )
    return list(maps) if len(maps) == number else maps * number


def _blocks(maps: int, group_width: int, blocks: int, stages: int) -> list[Block]:
    return [Block(maps, group_width, blocks * stages) for _ in range(blocks)]


def _change(before: int, after: int) -> list[nn.Module]:
    return [] if before == after else [_normal(nn.Conv2d(before, after, 1, bias=False), before)]


def _normal(layer: Layer, inputs: int, gain: float = 1.0) -> Layer:
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    if not isinstance(layer, nn.Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
