"""DSGAN's networks, Tables 4 to 7 of arXiv:1912.12402: for MNIST, for SVHN and CIFAR-10, and for adversarial training."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from gancore_standard.tools import GaussianNoise
from torch import Tensor, nn
from torch.nn import functional as F

import gancore
from gancore_dsgan.layers import KEEPS, convolution, normed, scaled

Count = Annotated[int, gancore.Range(1)]
Width = Annotated[float, gancore.Range(0, open_low=True)]
Deviation = Annotated[float, gancore.Range(0)]
Probability = Annotated[float, gancore.Range(0, 1, open_high=True)]


class MnistGenerator(gancore.Generator):
    """Generator of Table 4: two linear layers with batch norm and softplus, then one with weight norm and sigmoid.

    The paper's images are in [0, 1], so the sigmoid is stretched to [-1, 1]. It draws z from U(0, 1); as batch norm follows
    the first layer, which has no bias, any other uniform distribution does the same.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        latent_dim: Width of the latent, from core; the paper's is 100.
        hidden: Width of the two hidden layers.
    """

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, hidden: Count = 500) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.shape = (channels, image_size, image_size)
        self.layers = nn.Sequential(
            *(
                layer
                for a, b in pairwise((latent_dim, hidden, hidden))
                for layer in (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.Softplus())
            ),
            normed(nn.Linear(hidden, math.prod(self.shape)), 0.1),
        )

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]; labels are ignored."""
        image: Tensor = 2 * self.layers(z).sigmoid() - 1
        return image.view(-1, *self.shape)


def _hidden(inputs: int, outputs: int) -> nn.Module:
    return normed(nn.Linear(inputs, outputs), 0.1, math.sqrt(2), learns=False)


class MnistClassifier(gancore.Classifier):
    """Classifier of Table 4: six linear layers with weight norm and ReLU, and Gaussian noise before each of them.

    Images are mapped to the paper's [0, 1] first, on which scale its noise stands. The table has no noise before the last
    layer, the public code has. The features are those without that noise. The gains of the hidden layers keep the signal's
    size (He et al. 2015) and are not trained, for a network that could raise them would drown the noise.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, from core.
        classes: Number of classes K, from core.
        width: Multiplies the widths of the hidden layers; 1 is 1000, 500, 250, 250, 250. None is below 8.
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
        widths = [channels * image_size**2, *scaled(width, 1000, 500, 250, 250, 250)]
        self.layers = nn.Sequential(
            *(
                layer
                for number, (a, b) in enumerate(pairwise(widths))
                for layer in (GaussianNoise(noise if number else input_noise), _hidden(a, b), nn.ReLU())
            )
        )
        self.last = nn.Sequential(GaussianNoise(noise), normed(nn.Linear(widths[-1], classes), 0.1, 1.0))
        self.features = widths[-1]
        self.classes = classes

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F)."""
        features: Tensor = self.layers((x.flatten(1) + 1) / 2)
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.last(features)
        return logits


class FeatureCritic(gancore.Discriminator):
    """Discriminator of Tables 4 and 5, on a classifier's features: linear layers of 400, 200 and 100 with ReLU, no norm.

    The tables' last layer is the head.

    Args:
        channels: Width of the features that it sees (N, F, 1, 1), from core.
        image_size: 1 for features, from core.
        width: Multiplies the widths of the layers. None is below 8.
    """

    def __init__(self, *, channels: int, image_size: int, width: Width = 1.0) -> None:
        super().__init__()
        widths = [channels * image_size**2, *scaled(width, 400, 200, 100)]
        self.layers = nn.Sequential(*(layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())))
        self.features = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Map a classifier's features (N, F, 1, 1), or images (N, C, H, W), to features (N, 100 at width 1)."""
        features: Tensor = self.layers(x.flatten(1))
        return features


class ConvGenerator(gancore.Generator):
    """Generator of Table 5: a linear layer and three transposed convolutions of 5 x 5, each of which doubles the size.

    Batch norm and ReLU follow all but the last, which has weight norm and tanh. As with `MnistGenerator`, batch norm makes
    any uniform distribution of z do what the paper's U(0, 1) does.

    Args:
        channels: Channels of an image, from core.
        image_size: A multiple of 8, from core; the paper's is 32.
        latent_dim: Width of the latent, from core; the paper's is 100.
        width: Multiplies the numbers of maps; 1 is 512, 256, 128. None is below 8.
    """

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, width: Width = 1.0) -> None:
        super().__init__()
        base = image_size // 8
        if base < 1 or image_size % 8:
            raise gancore.GancoreError(
                f"DSGAN's convolutional generator makes images whose size is a multiple of 8, not {image_size}."
            )
        self.latent_dim = latent_dim
        maps = scaled(width, 512, 256, 128)
        start = maps[0] * base**2
        layers = [
            layer
            for a, b in pairwise(maps)
            for layer in (nn.ConvTranspose2d(a, b, 5, 2, 2, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        ]
        # The public code's 0.1 for this layer is the deviation that its outputs start with. A rectified standard normal has
        # mean square 1/2, and at stride 2 a weight reaches every fourth pixel: what comes out has deviation gain / sqrt(8).
        last = normed(nn.ConvTranspose2d(maps[-1], channels, 5, 2, 2, 1), 0.05, gain=0.1 * math.sqrt(8))
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, start, bias=False),
            nn.BatchNorm1d(start),
            nn.ReLU(),
            nn.Unflatten(1, (maps[0], base, base)),
            *layers,
            last,
            nn.Tanh(),
        )

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) to images (N, C, H, W) in [-1, 1]; labels are ignored."""
        image: Tensor = self.layers(z)
        return image


class ConvClassifier(gancore.Classifier):
    """Classifier of Table 6: nine convolutions with weight norm and leaky ReLU in three blocks, and global average pooling.

    The defaults are CIFAR-10's; SVHN has ``maps = 64``, ``input_dropout = 0.15`` and ``channelwise = true``. As in the public
    code, the third block's first convolution isn't padded (8 x 8 becomes 6 x 6 at 32 px). Noise is on the scale of images in
    [-1, 1].

    Args:
        channels: Channels of an image, from core.
        image_size: At least 9, from core; the paper's is 32.
        classes: Number of classes K, from core.
        maps: Number of maps in the first block; the other two have twice as many.
        input_noise: Standard deviation of the noise on the images.
        input_dropout: Probability with which a channel of the images is dropped.
        dropout: Probability of dropout after the first and the second block.
        channelwise: Whether that drops whole maps instead of single values.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        classes: int,
        maps: Count = 96,
        input_noise: Deviation = 0.05,
        input_dropout: Probability = 0.2,
        dropout: Probability = 0.5,
        channelwise: bool = False,
    ) -> None:
        super().__init__()
        if image_size < 9:
            raise gancore.GancoreError(f"DSGAN's convolutional classifier needs images of at least 9 px, not {image_size}.")
        drop = nn.Dropout2d if channelwise else nn.Dropout
        wide = 2 * maps
        self.layers = nn.Sequential(
            GaussianNoise(input_noise),
            nn.Dropout2d(input_dropout),
            convolution(channels, maps, learns=False),
            convolution(maps, maps, learns=False),
            convolution(maps, maps, stride=2, learns=False),
            drop(dropout),
            convolution(maps, wide, learns=False),
            convolution(wide, wide, learns=False),
            convolution(wide, wide, stride=2, learns=False),
            drop(dropout),
            convolution(wide, wide, valid=True, learns=False),
            convolution(wide, wide, 1, learns=False),
            convolution(wide, wide, 1, learns=False),
        )
        self.last = normed(nn.Linear(wide, classes), 0.05, 1.0)
        self.features = wide
        self.classes = classes

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F)."""
        maps: Tensor = self.layers(x)
        return maps.mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        logits: Tensor = self.last(features)
        return logits


class PlainClassifier(gancore.Classifier):
    """Classifier of Table 7, for adversarial training: six convolutions, global average pooling, four linear layers.

    All have weight norm, and all but the last leaky ReLU. The features are what is pooled, so that `classify` isn't linear.
    Images are halved first, for the paper's are in [-0.5, 0.5]. The paper doesn't speak of padding; here convolutions of
    stride 1 keep the size.

    Args:
        channels: Channels of an image, from core.
        classes: Number of classes K, from core.
        maps: Number of maps of the first two convolutions; all that follows is twice as wide.
        dropout: Probability of dropout after the second and the fourth convolution: 0.5 in the table, none in the text.
    """

    def __init__(self, *, channels: int, classes: int, maps: Count = 96, dropout: Probability = 0.0) -> None:
        super().__init__()
        wide = 2 * maps
        self.layers = nn.Sequential(
            convolution(channels, maps),
            convolution(maps, maps, stride=2),
            nn.Dropout(dropout),
            convolution(maps, wide),
            convolution(wide, wide, stride=2),
            nn.Dropout(dropout),
            convolution(wide, wide),
            convolution(wide, wide, 1),
        )
        self.linear = nn.ModuleList(normed(nn.Linear(wide, wide), 0.05, KEEPS) for _ in range(3))
        self.last = normed(nn.Linear(wide, classes), 0.05, 1.0)
        self.features = wide
        self.classes = classes

    def embed(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to features (N, F), the pooled maps."""
        maps: Tensor = self.layers(x / 2)
        return maps.mean((2, 3))

    def classify(self, features: Tensor) -> Tensor:
        """Map features (N, F) to logits (N, K)."""
        for linear in self.linear:
            features = F.leaky_relu(linear(features), 0.2)
        logits: Tensor = self.last(features)
        return logits
