"""Critics with dropout: that for MNIST, the residual one for CIFAR-10, and a head for critics that have none."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from gancore_standard.tools import halved, spectral
from torch import Tensor, nn
from torch.nn import functional as F

import gancore

Probability = Annotated[float, gancore.Range(0, 1, open_high=True)]
Width = Annotated[float, gancore.Range(0, open_low=True)]


def _doublings(image_size: int) -> int:
    if image_size < 8 or image_size & (image_size - 1):
        raise gancore.GancoreError(
            f"CT-GAN's critics are for images of a power of two of pixels, at least 8, not {image_size}; set data.image_size."
        )
    return image_size.bit_length() - 3


def _scaled(width: float, maps: int) -> int:
    return max(8, round(width * maps))


class Critic(gancore.Discriminator):
    """Halving 5 x 5 convolutions to 4 x 4 maps, each with LeakyReLU and dropout (the authors' critic for MNIST).

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        width: Multiplies the numbers of maps, 64 times a power of two.
        dropout: Probability with which a value of a map is dropped.
    """

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0, dropout: Probability = 0.5) -> None:
        super().__init__()
        maps = [channels, *(_scaled(width, 64 * 2**k) for k in range(_doublings(image_size)))]
        self.layers = nn.Sequential(
            *(
                layer
                for a, b in pairwise(maps)
                for layer in (nn.Conv2d(a, b, 5, stride=2, padding=2), nn.LeakyReLU(0.2), nn.Dropout(dropout))
            )
        )
        self.features = maps[-1] * 16

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F), those after the last dropout."""
        maps: Tensor = self.layers(x)
        return maps.flatten(1)


class _Block(nn.Module):
    """x + two 3 x 3 convolutions, halved by average pooling where `down`; the first block has no activation before."""

    def __init__(self, inputs: int, outputs: int, *, down: bool, first: bool) -> None:
        super().__init__()
        self.down = down
        self.before = nn.Identity() if first else nn.ReLU()
        self.between = nn.ReLU()
        self.convolution1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.convolution2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = self.between(self.convolution1(self.before(x)))
        if not self.down:
            out: Tensor = self.convolution2(residual) + x
            return out
        # Averaging commutes with a 1 x 1 convolution, and makes it four times cheaper.
        shorter: Tensor = halved(self.convolution2, residual) + self.shortcut(F.avg_pool2d(x, 2))
        return shorter


class ResNetCritic(gancore.Discriminator):
    """WGAN-GP's residual critic with dropout after the second, third and fourth block (the authors' critic for CIFAR-10).

    Four blocks, the first two halving, ReLU, and the mean over the places of the maps.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        width: Multiplies the number of maps, 128.
        dropout: Probabilities of dropout after the last three blocks.

    Raises:
        GancoreError: There are not three probabilities.
    """

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0, dropout: list[Probability] | None = None) -> None:
        super().__init__()
        _doublings(image_size)
        probabilities = [0.2, 0.5, 0.5] if dropout is None else dropout
        if len(probabilities) != 3:
            raise gancore.GancoreError(
                f"dropout has three probabilities, one after each of the last three blocks, not {dropout}."
            )
        maps = _scaled(width, 128)
        layers: list[nn.Module] = [_Block(channels, maps, down=True, first=True)]
        for number, probability in enumerate(probabilities):
            layers += [_Block(maps, maps, down=number == 0, first=False), nn.Dropout(probability)]
        self.layers = nn.Sequential(*layers, nn.ReLU())
        self.features = maps

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))


class DropoutLinear(gancore.Head):
    """One logit of features under dropout, for a critic that has none; its features then differ by nothing between two passes.

    Args:
        features: Width F of the features, from core.
        dropout: Probability with which a feature is dropped.
        spectral_norm: Spectral norm, as the discriminator has it unless set.
    """

    def __init__(self, *, features: int, dropout: Probability = 0.5, spectral_norm: bool = False) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, 1)
        spectral(self.linear, spectral_norm)

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        """Map features (N, F) to logits (N,)."""
        logits: Tensor = self.linear(self.dropout(features))
        return logits.squeeze(1)
