"""The discriminators of the semi-supervised experiments: weight norm that starts from data, and Gaussian noise or dropout."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from gancore_standard.tools import GaussianNoise
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrizations import weight_norm

import gancore

Deviation = Annotated[float, gancore.Range(0)]
Width = Annotated[float, gancore.Range(0, open_low=True)]
Probability = Annotated[float, gancore.Range(0, 1, open_high=True)]


class _Layers(gancore.Discriminator):
    """A discriminator of layers under weight norm, whose gains and biases start from data.

    Before the first step each layer's outputs are given mean 0 and deviation 1 over the first batch (Salimans and Kingma 2016,
    arXiv:1602.07868, section 3); after that the gains stay, as in the authors' code.
    """

    layers: nn.Sequential

    def initialize(self, real: Tensor, noise: torch.Generator) -> None:
        """Set gains and biases by images (N, C, H, W) in [-1, 1]; without dropout, with Gaussian noise from `noise`."""
        x = self.entering(real)
        for layer in self.layers:
            if isinstance(layer, GaussianNoise):
                x = x + layer.std * torch.randn(x.shape, generator=noise, device=x.device)
            elif isinstance(layer, nn.Linear | nn.Conv2d):
                dims = [dim for dim in range(x.ndim) if dim != 1]
                deviation, mean = torch.std_mean(layer(x), dims, correction=0)
                # What doesn't vary, in a batch of one image for example, has no scale to be set by.
                deviation = torch.where(deviation < 1e-6, 1.0, deviation)
                gain = layer.get_parameter("parametrizations.weight.original0")
                gain.div_(deviation.view(-1, *[1] * (gain.ndim - 1)))
                assert layer.bias is not None
                layer.bias.copy_(-mean / deviation)
                x = layer(x)
            elif not isinstance(layer, _DropoutNd):
                x = layer(x)

    def entering(self, x: Tensor) -> Tensor:
        """Return what the first layer is given of images (N, C, H, W) in [-1, 1]."""
        return x


def _normed(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    nn.init.normal_(layer.weight, std=0.05)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    weight_norm(layer)
    layer.get_parameter("parametrizations.weight.original0").requires_grad_(False)
    return layer


def _convolution(inputs: int, outputs: int, size: int = 3, *, stride: int = 1, padding: int = 1) -> list[nn.Module]:
    return [_normed(nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding)), nn.LeakyReLU(0.2)]


class MnistDiscriminator(_Layers):
    """Five linear layers with ReLU, and Gaussian noise before each (the authors' code for MNIST).

    Images are mapped to the authors' [0, 1] first, on which scale the noise stands. Theirs has noise before the class logits
    too, which the head here does not add.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        width: Multiplies the widths 1000, 500, 250, 250, 250; none is below 8.
        input_noise: Standard deviation of the noise on the images.
        noise: Standard deviation of the noise before every later layer.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        width: Width = 1.0,
        input_noise: Deviation = 0.3,
        noise: Deviation = 0.5,
    ) -> None:
        super().__init__()
        widths = [channels * image_size**2, *(max(8, round(width * units)) for units in (1000, 500, 250, 250, 250))]
        self.layers = nn.Sequential(
            *(
                layer
                for number, (a, b) in enumerate(pairwise(widths))
                for layer in (GaussianNoise(noise if number else input_noise), _normed(nn.Linear(a, b)), nn.ReLU())
            )
        )
        self.features = widths[-1]

    def entering(self, x: Tensor) -> Tensor:
        """Return images as rows (N, C H W) in [0, 1]."""
        return (x.flatten(1) + 1) / 2

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F)."""
        features: Tensor = self.layers(self.entering(x))
        return features


class ConvDiscriminator(_Layers):
    """Nine convolutions with LeakyReLU in three blocks, dropout before each, and global average pooling (CIFAR-10, SVHN).

    The third block's first convolution is not padded: 8 x 8 becomes 6 x 6 at 32 px.

    Args:
        channels: Channels of an image, from core.
        image_size: At least 9, from core.
        maps: Maps of the first block, of the second, and of each convolution of the third; SVHN's first has 64, the other 128.
        input_noise: Standard deviation of noise on the images, on the [-1, 1] scale; 0.2 in the place of dropout beside
            minibatch discrimination.
        input_dropout: Probability of dropout on the images.
        dropout: Probability of dropout after the first and the second block.

    Raises:
        GancoreError: The images are too small, or there are not five numbers of maps.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        maps: list[Annotated[int, gancore.Range(1)]] | None = None,
        input_noise: Deviation = 0.0,
        input_dropout: Probability = 0.2,
        dropout: Probability = 0.5,
    ) -> None:
        super().__init__()
        maps = maps or [96, 192, 192, 192, 192]
        if image_size < 9:
            raise gancore.GancoreError(f"this discriminator needs images of at least 9 px, not {image_size}.")
        if len(maps) != 5:
            raise gancore.GancoreError(
                f"maps are five numbers, of the first block, the second, and three convolutions, not {maps}."
            )
        first, second, *last = maps
        self.layers = nn.Sequential(
            GaussianNoise(input_noise),
            nn.Dropout(input_dropout),
            *(layer for a, b in pairwise([channels, first, first]) for layer in _convolution(a, b)),
            *_convolution(first, first, stride=2),
            nn.Dropout(dropout),
            *(layer for a, b in pairwise([first, second, second]) for layer in _convolution(a, b)),
            *_convolution(second, second, stride=2),
            nn.Dropout(dropout),
            *_convolution(second, last[0], padding=0),
            *(layer for a, b in pairwise(last) for layer in _convolution(a, b, 1, padding=0)),
        )
        self.features = last[2]

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F)."""
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))
