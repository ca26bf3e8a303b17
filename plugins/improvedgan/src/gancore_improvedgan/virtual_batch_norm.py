"""Virtual batch norm, section 3.5, and a generator and a discriminator of DCGAN's kind with it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gancore

Count = Annotated[int, gancore.Range(2)]
Width = Annotated[float, gancore.Range(0, open_low=True)]


class VirtualBatchNorm(nn.Module):
    """Batch norm by the statistics of a reference batch that stays, and of each image alone.

    The R images of the reference batch are normalized by their mean m and mean square q of each channel, any other image by
    c own + (1 - c) m, likewise of q, with c = 1 / (R + 1), as in the authors' code for ImageNet.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.02 * torch.randn(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, reference: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalize the reference batch (R, C, H, W) and images (N, C, H, W)."""
        # A mean square less a squared mean needs more digits than half precision has.
        reference, x = (maps.to(torch.promote_types(maps.dtype, torch.float32)) for maps in (reference, x))
        mean, square = (moment.mean((0, 2, 3)) for moment in (reference, reference.square()))
        share = 1 / (len(reference) + 1)
        own = share * x.mean((2, 3)) + (1 - share) * mean, share * x.square().mean((2, 3)) + (1 - share) * square
        return self._normed(reference, mean[None], square[None]), self._normed(x, *own)

    def _normed(self, x: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        # Of a channel whose mean is large beside its deviation, rounding may leave a variance below 0.
        scale = self.weight * torch.rsqrt((square - mean.square()).clamp_min(0) + 1e-5)
        return x * scale[:, :, None, None] + (self.bias - mean * scale)[:, :, None, None]


def _through(layers: nn.Sequential, reference: Tensor, x: Tensor) -> Tensor:
    """Send a reference batch (R, ...) and images or latents (N, ...) through layers; return what becomes of the latter."""
    for layer in layers:
        if isinstance(layer, VirtualBatchNorm):
            reference, x = layer(reference, x)
        else:
            # Hidden activations are recorded where a layer is called; they shall be those of the images alone.
            reference, x = layer.forward(reference), layer(x)
    return x


def _doubled_maps(image_size: int, width: float) -> list[int]:
    """Return the numbers of maps from the full size down to 4 x 4."""
    if image_size < 8 or image_size & (image_size - 1):
        raise gancore.GancoreError(
            f"networks with virtual batch norm are for images of a power of two of pixels, at least 8, not {image_size}; "
            "set data.image_size."
        )
    return [max(8, round(width * 64 * 2**k)) for k in range(image_size.bit_length() - 3)]


class VirtualGenerator(gancore.Generator):
    """Transposed 4 x 4 convolutions from 4 x 4 maps to the image, virtual batch norm and ReLU between, tanh.

    The reference batch is one of latents, and of labels where images obey theirs. It goes through the network with every batch,
    so that each costs two, and an image depends on no other of its batch, in training as in evaluation.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        latent_dim: Width of the latent, from core.
        classes: Number of classes K, from core.
        width: Multiplies the numbers of maps, 64 times a power of two.
        reference: Latents of the reference batch.
        latent: Their distribution, which should be the recipe's.
        conditional: Whether the label is joined to the latent, one-hot. Those of the reference batch are drawn evenly.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        latent_dim: int,
        classes: int = 0,
        width: Width = 1.0,
        reference: Count = 64,
        latent: Literal["normal", "uniform"] = "normal",
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.classes = classes if conditional else 0
        latents = torch.randn(reference, latent_dim) if latent == "normal" else 2 * torch.rand(reference, latent_dim) - 1
        self.reference: Tensor
        self.register_buffer("reference", self._with_label(latents, torch.arange(reference) % max(1, classes)))
        maps = _doubled_maps(image_size, width)[::-1]
        layers: list[nn.Module] = [
            nn.Linear(latent_dim + self.classes, maps[0] * 16, bias=False),
            nn.Unflatten(1, (maps[0], 4, 4)),
        ]
        for a, b in pairwise([*maps, channels]):
            layers += [VirtualBatchNorm(a), nn.ReLU(), nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        _dcgan_weights(self)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) and labels (N,) to images (N, C, H, W) in [-1, 1]."""
        return _through(self.layers, self.reference.to(z.dtype), self._with_label(z, label))

    def _with_label(self, z: Tensor, label: Tensor | None) -> Tensor:
        if not self.classes or label is None:
            return z
        return torch.cat([z, F.one_hot(label, self.classes).to(z.dtype)], 1)


class VirtualDiscriminator(gancore.Discriminator):
    """Halving 4 x 4 convolutions to 4 x 4 maps, virtual batch norm after all but the first, LeakyReLU.

    The reference batch is the first batch of real images. An image's features depend on no other image of its batch, so that
    real and generated images, and images of other sides, may share one.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        batch_size: Images of the reference batch, from core.
        width: Multiplies the numbers of maps, 64 times a power of two.
    """

    def __init__(self, *, channels: int, image_size: int, batch_size: int, width: Width = 1.0) -> None:
        super().__init__()
        self.reference: Tensor
        self.register_buffer("reference", torch.zeros(batch_size, channels, image_size, image_size))
        maps = _doubled_maps(image_size, width)
        layers: list[nn.Module] = [nn.Conv2d(channels, maps[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for a, b in pairwise(maps):
            convolution = nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False)
            layers += [convolution, VirtualBatchNorm(b), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.features = maps[-1] * 16
        _dcgan_weights(self)

    def initialize(self, real: Tensor, noise: torch.Generator) -> None:
        """Take the first batch's images (N, C, H, W) as the reference batch."""
        self.reference.copy_(real)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to features (N, F)."""
        return _through(self.layers, self.reference.to(x.dtype), x).flatten(1)


def _dcgan_weights(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
