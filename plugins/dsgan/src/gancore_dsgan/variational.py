"""The bound of a generator's entropy by which badGAN keeps what it generates for CIFAR-10 diverse."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn

import gancore
from gancore_dsgan.layers import normed, scaled

Width = Annotated[float, gancore.Range(0, open_low=True)]


class VariationalEntropy(gancore.LossTerm):
    """Raises a bound of the entropy of generated images (badGAN, Dai et al. 2017, arXiv:1705.09783).

    An encoder, trained with the generator, guesses by a normal distribution from which latents images are; L_G =
    E sum_j s_j + ((z_j - m_j) / exp(s_j))^2 / 2 is its negative log-likelihood but for a constant, of means m and logarithms of
    deviations s. Images that tell their latents apart are as many as these. The encoder is the public code's: three
    convolutions of 5 x 5 with batch norm and ReLU, each of which halves the size, and a linear layer with weight norm.

    Args:
        channels: Channels of an image, from core.
        image_size: A multiple of 8, from core; the code's is 32.
        latent_dim: Width of the latent, from core.
        width: Multiplies the numbers of maps; 1 is 128, 256, 512. None is below 8.
    """

    # Its batch norm sees the batch.
    mean_over_images = False

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, width: Width = 1.0) -> None:
        super().__init__()
        if image_size % 8:
            raise gancore.GancoreError(
                f"dsgan/variational-entropy reads images whose size is a multiple of 8, not {image_size}; leave the term out."
            )
        maps = [channels, *reversed(scaled(width, 512, 256, 128))]
        layers = [
            layer for a, b in pairwise(maps) for layer in (nn.Conv2d(a, b, 5, 2, 2, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        ]
        # At the start, means and deviations are about 0 and 1: a rectified standard normal has mean square 1/2.
        last = normed(nn.Linear(maps[-1] * (image_size // 8) ** 2, 2 * latent_dim), 0.05, gain=0.1 * 2**0.5)
        self.encoder = nn.Sequential(*layers, nn.Flatten(), last)

    def generator(self, *, fake: Tensor, z: Tensor) -> Tensor:
        """Return the scalar loss for images (N, C, H, W) in [-1, 1] and the latents (N, latent_dim) that they are of."""
        mean, log_deviation = self.encoder(fake).chunk(2, dim=1)
        surprise = log_deviation + ((z - mean) * torch.exp(-log_deviation)).square() / 2
        loss: Tensor = surprise.sum(1).mean()
        return loss
