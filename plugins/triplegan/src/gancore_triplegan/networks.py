"""Triple GAN's networks (the authors' public code): each layer of generators and discriminators is given the label.

Weight-normed layers have a gain per output that is not trained and keeps the signal's size (He et al. 2015); the public code's
is 1. The discriminators' last layer is the head, whose features end with the label.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

import torch
from gancore_standard.tools import GaussianNoise
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import gancore

Count = Annotated[int, gancore.Range(1)]
Width = Annotated[float, gancore.Range(0, open_low=True)]
Deviation = Annotated[float, gancore.Range(0)]
Probability = Annotated[float, gancore.Range(0, 1, open_high=True)]

SLOPE = 0.2
"""Of leaky ReLU."""


def _scaled(width: float, *units: int) -> list[int]:
    """Return numbers of units or maps times a width, none below 8."""
    return [max(8, round(unit * width)) for unit in units]


def _normed(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, std: float, gain: float, *, learns: bool = False) -> nn.Module:
    """Return a layer under weight norm, with weights from N(0, std^2), biases 0, and a gain of each output."""
    nn.init.normal_(layer.weight, std=std)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    # A transposed convolution keeps its outputs in the second dimension.
    weight_norm(layer, dim=1 if isinstance(layer, nn.ConvTranspose2d) else 0)
    of_outputs = layer.get_parameter("parametrizations.weight.original0")
    nn.init.constant_(of_outputs, gain)
    of_outputs.requires_grad_(learns)
    return layer


def _drawn(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """Return a layer, which batch norm follows, with weights from N(0, 0.05^2)."""
    nn.init.normal_(layer.weight, std=0.05)
    return layer


def beside(x: Tensor, label: Tensor, classes: int) -> Tensor:
    """Return rows (N, F) or maps (N, C, H, W) with labels (N,) behind them, one-hot: K further columns, or constant maps."""
    one_hot = (label[:, None] == torch.arange(classes, device=label.device)).to(x.dtype)
    if x.ndim > 2:
        one_hot = one_hot[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, one_hot], 1)


class _Labeled(nn.Module):
    """Blocks, each of which is given the label beside what the one before gives."""

    def __init__(self, classes: int, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.classes = classes
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(beside(x, label, self.classes))
        return x


class MLPGenerator(gancore.Generator):
    """Generator for MNIST: two linear layers with batch norm and softplus, then one with weight norm and sigmoid.

    The public code's images are in [0, 1], so the sigmoid is stretched to [-1, 1]. It draws z from U(0, 1); batch norm follows
    the first layer, so any other uniform distribution does the same.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        latent_dim: Width of the latent, from core; the code's is 100.
        classes: Number of classes K, from core.
        hidden: Width of the two hidden layers.
    """

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, classes: int, hidden: Count = 500) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = (channels, image_size, image_size)
        blocks: list[nn.Module] = [
            nn.Sequential(nn.Linear(a + classes, b, bias=False), nn.BatchNorm1d(b), nn.Softplus())
            for a, b in pairwise((latent_dim, hidden, hidden))
        ]
        last = _normed(nn.Linear(hidden + classes, math.prod(self.shape)), 0.1, 1.0, learns=True)
        self.layers = _Labeled(classes, [*blocks, last])

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) to images (N, C, H, W) in [-1, 1]."""
        assert label is not None
        image: Tensor = 2 * self.layers(z, label).sigmoid() - 1
        return image.view(-1, *self.shape)


class MLPDiscriminator(gancore.Discriminator):
    """Discriminator of pairs for MNIST: five linear layers with weight norm and ReLU, and Gaussian noise before each.

    Images are mapped to the public code's [0, 1] first, on which scale its noise stands. The code has noise before its last
    layer too, which is the head here and adds none; and it gives the second layer the label twice, once under noise.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        classes: Number of classes K, from core.
        width: Multiplies the widths 1000, 500, 250, 250, 250; none is below 8.
        input_noise: Standard deviation of the noise on the images, in [0, 1].
        noise: Standard deviation of the noise before every later layer.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        classes: int,
        width: Width = 1.0,
        input_noise: Deviation = 0.3,
        noise: Deviation = 0.5,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.noise = GaussianNoise(input_noise)
        widths = [channels * image_size**2, *_scaled(width, 1000, 500, 250, 250, 250)]
        pairs = list(pairwise(widths))
        # Noise after each layer but the last, and so before each but the first.
        hidden = [
            nn.Sequential(
                _normed(nn.Linear(a + classes, b), 0.1, math.sqrt(2)),
                nn.ReLU(),
                GaussianNoise(noise if number < len(pairs) else 0.0),
            )
            for number, (a, b) in enumerate(pairs, start=1)
        ]
        self.layers = _Labeled(classes, hidden)
        self.features = widths[-1] + classes

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] and labels (N,), which core gives, to features (N, F)."""
        assert label is not None
        return beside(self.layers(self.noise((x.flatten(1) + 1) / 2), label), label, self.classes)


class ConvGenerator(gancore.Generator):
    """Generator for SVHN and CIFAR-10: a linear layer and three transposed convolutions of 5 x 5, each doubling the size.

    Batch norm and ReLU follow all but the last, which has weight norm and tanh.

    Args:
        channels: Channels of an image, from core.
        image_size: A multiple of 8, from core; the code's is 32.
        latent_dim: Width of the latent, from core; the code's is 100.
        classes: Number of classes K, from core.
        width: Multiplies the numbers of maps; 1 is 512, 256, 128. None is below 8.
    """

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, classes: int, width: Width = 1.0) -> None:
        super().__init__()
        base = image_size // 8
        if base < 1 or image_size % 8:
            raise gancore.GancoreError(
                f"Triple GAN's convolutional generator makes images whose size is a multiple of 8, not {image_size}."
            )
        self.latent_dim = latent_dim
        maps = _scaled(width, 512, 256, 128)
        start = maps[0] * base**2
        first = nn.Sequential(
            _drawn(nn.Linear(latent_dim + classes, start, bias=False)),
            nn.BatchNorm1d(start),
            nn.ReLU(),
            nn.Unflatten(1, (maps[0], base, base)),
        )
        blocks = [
            nn.Sequential(_drawn(nn.ConvTranspose2d(a + classes, b, 5, 2, 2, 1, bias=False)), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in pairwise(maps)
        ]
        # The code's gain of the last layer is 1 at first, and is trained.
        last = _normed(nn.ConvTranspose2d(maps[-1] + classes, channels, 5, 2, 2, 1), 0.05, 1.0, learns=True)
        self.layers = _Labeled(classes, [first, *blocks, nn.Sequential(last, nn.Tanh())])

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) to images (N, C, H, W) in [-1, 1]."""
        assert label is not None
        image: Tensor = self.layers(z, label)
        return image


class ConvDiscriminator(gancore.Discriminator):
    """Discriminator of pairs for SVHN and CIFAR-10: six convolutions with weight norm and leaky ReLU, dropout, global pooling.

    The last two convolutions are not padded.

    Args:
        channels: Channels of an image, from core.
        image_size: At least 17, from core; the code's is 32.
        classes: Number of classes K, from core.
        width: Multiplies the numbers of maps 32, 64, 128; none is below 8.
        dropout: Probability of dropout on the images, and after each pair of convolutions but the last.

    Raises:
        GancoreError: The images are too small.
    """

    def __init__(self, *, channels: int, image_size: int, classes: int, width: Width = 1.0, dropout: Probability = 0.2) -> None:
        super().__init__()
        if image_size < 17:
            raise gancore.GancoreError(
                f"Triple GAN's convolutional discriminator needs images of 17 px or more, not {image_size}."
            )
        self.classes = classes
        self.dropout = nn.Dropout(dropout)
        keeps = math.sqrt(2 / (1 + SLOPE**2))
        a, b, c = _scaled(width, 32, 64, 128)
        blocks = []
        for inputs, outputs, stride, padding, dropped in (
            (channels, a, 1, 1, 0.0),
            (a, a, 2, 1, dropout),
            (a, b, 1, 1, 0.0),
            (b, b, 2, 1, dropout),
            (b, c, 1, 0, 0.0),
            (c, c, 1, 0, 0.0),
        ):
            layer = nn.Conv2d(inputs + classes, outputs, 3, stride, padding)
            blocks.append(nn.Sequential(_normed(layer, 0.05, keeps), nn.LeakyReLU(SLOPE), nn.Dropout(dropped)))
        self.layers = _Labeled(classes, blocks)
        self.features = c + classes

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] and labels (N,), which core gives, to features (N, F)."""
        assert label is not None
        return beside(self.layers(self.dropout(x), label).mean((2, 3)), label, self.classes)


def _convolution(inputs: int, outputs: int, size: int = 3, *, padding: int, activation: nn.Module) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, padding=padding, bias=False)
    return nn.Sequential(_drawn(layer), nn.BatchNorm2d(outputs), activation)


class MnistClassifier(gancore.Classifier):
    """Classifier for MNIST: five convolutions with batch norm and ReLU, dropout of 0.5 twice, and global average pooling.

    Images are mapped to the public code's [0, 1] first.

    Args:
        channels: Channels of an image, from core.
        image_size: At least 12, from core; the code's is 28.
        classes: Number of classes K, from core.
        width: Multiplies the numbers of maps 32, 64, 128; none is below 8.

    Raises:
        GancoreError: The images are too small.
    """

    def __init__(self, *, channels: int, image_size: int, classes: int, width: Width = 1.0) -> None:
        super().__init__()
        if image_size < 12:
            raise gancore.GancoreError(f"Triple GAN's classifier for MNIST needs images of 12 px or more, not {image_size}.")
        a, b, c = _scaled(width, 32, 64, 128)
        relu = nn.ReLU()
        self.layers = nn.Sequential(
            _convolution(channels, a, 5, padding=0, activation=relu),
            nn.MaxPool2d(2),
            nn.Dropout(0.5),
            _convolution(a, b, padding=1, activation=relu),
            _convolution(b, b, padding=0, activation=relu),
            nn.MaxPool2d(2),
            nn.Dropout(0.5),
            _convolution(b, c, padding=1, activation=relu),
            _convolution(c, c, padding=1, activation=relu),
        )
        self.last = nn.Linear(c, classes)
        nn.init.normal_(self.last.weight, std=0.01)
        nn.init.zeros_(self.last.bias)
        self.features, self.classes = c, classes

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F)."""
        maps: Tensor = self.layers((x + 1) / 2)
        return maps.mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.last(features)
        return logits


class ConvClassifier(gancore.Classifier):
    """Classifier for SVHN and CIFAR-10: nine convolutions with batch norm and leaky ReLU, and global average pooling.

    The defaults are SVHN's; CIFAR-10 has ``input_noise = 0.15``, ``input_dropout = 0`` and ``slope = 0.1``. The third block's
    first convolution is not padded.

    Args:
        channels: Channels of an image, from core.
        image_size: At least 12, from core; the code's is 32.
        classes: Number of classes K, from core.
        width: Multiplies the numbers of maps 128, 256, 512; none is below 8.
        input_noise: Standard deviation of the noise on the images.
        input_dropout: Probability of dropout on the images.
        dropout: Probability of dropout after the first and the second block.
        slope: Of leaky ReLU.

    Raises:
        GancoreError: The images are too small.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        classes: int,
        width: Width = 1.0,
        input_noise: Deviation = 0.0,
        input_dropout: Probability = 0.2,
        dropout: Probability = 0.5,
        slope: Deviation = SLOPE,
    ) -> None:
        super().__init__()
        if image_size < 12:
            raise gancore.GancoreError(
                f"Triple GAN's convolutional classifier needs images of 12 px or more, not {image_size}."
            )
        a, b, c = _scaled(width, 128, 256, 512)
        leaky = nn.LeakyReLU(slope)
        self.layers = nn.Sequential(
            GaussianNoise(input_noise),
            nn.Dropout(input_dropout),
            *(_convolution(i, a, padding=1, activation=leaky) for i in (channels, a, a)),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            *(_convolution(i, b, padding=1, activation=leaky) for i in (a, b, b)),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
            _convolution(b, c, padding=0, activation=leaky),
            _convolution(c, b, 1, padding=0, activation=leaky),
            _convolution(b, a, 1, padding=0, activation=leaky),
        )
        self.last = nn.Sequential(_drawn(nn.Linear(a, classes, bias=False)), nn.BatchNorm1d(classes))
        self.features, self.classes = a, classes

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F)."""
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.last(features)
        return logits
