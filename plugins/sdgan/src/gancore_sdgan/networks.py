"""Networks that make and judge several images of one identity at once (Donahue et al. 2018, sections 2.3 and 3.1)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from gancore_standard.tools import DCGANDiscriminator, SNDCGANGenerator
from torch import Tensor, nn

from gancore import GancoreError, Range

Width = Annotated[float, Range(0, open_low=True)]
Slope = Annotated[float, Range(0)]


class PairGenerator(SNDCGANGenerator):
    """A network that makes k images of each latent: z_I, the identity, is common to them, and each has its own observation z_O.

    A latent is [z_I, z_O of the first image, z_O of the second, ...] (section 2.3, Algorithm 1). Every image is made of
    [z_I, z_O] by the same weights, so that it may also be made alone (k = 1). They are SNDCGAN's, as the paper's DCGAN a
    projection to 4 x 4 maps and transposed convolutions with batch norm.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        latent_dim: Width of the latent, d_I + k d_O, from core.
        group_size: Images k of a sample, from core.
        identity: Width d_I of the identity; 0 leaves nothing in common. By default the latent is cut evenly: as wide as an
            observation, and what is left over.
        width: Multiplies the numbers of maps.
        slope: Slope of LeakyReLU below 0; the paper's is ReLU.

    Raises:
        GancoreError: What the identity leaves of a latent can't be shared by k observations of equal width.
    """

    groups: ClassVar[bool] = True

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        latent_dim: int,
        group_size: int = 1,
        identity: Annotated[int, Range(0)] | None = None,
        width: Width = 1.0,
        slope: Slope = 0.0,
    ) -> None:
        if identity is None:
            identity = latent_dim - group_size * (latent_dim // (group_size + 1))
        observation, left = divmod(latent_dim - identity, group_size)
        if observation < 1 or left:
            raise GancoreError(
                f"a latent of {latent_dim} numbers less an identity of {identity} is no {group_size} equal observations; "
                f"set run.latent_dim to identity + {group_size} x the width of an observation."
            )
        super().__init__(
            channels=channels, image_size=image_size, classes=1, latent_dim=identity + observation, width=width, slope=slope
        )
        self.latent_dim, self.identity, self.group_size = latent_dim, identity, group_size

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map latents (N, latent_dim) to samples (N, k, C, H, W) in [-1, 1], or (N, C, H, W) where k is 1."""
        identity = z[:, None, : self.identity].expand(-1, self.group_size, -1)
        observations = z[:, self.identity :].unflatten(1, (self.group_size, -1))
        images = super().forward(torch.cat([identity, observations], 2).flatten(0, 1))
        return images if self.group_size == 1 else images.unflatten(0, (-1, self.group_size))


class SiameseDiscriminator(DCGANDiscriminator):
    """A DCGAN that judges k images together: one encoder for all, its maps side by side, then a convolution (Fig. 2).

    The 3 x 3 convolution of stride 2 over the joined 4 x 4 maps has as many maps as the encoder's last layer; a linear head on
    its 2 x 2 maps is the paper's logit.

    Args:
        channels: Channels of an image, from core.
        image_size: Height and width, a power of two of at least 8, from core.
        group_size: Images k of a sample, from core.
        width: Multiplies the numbers of maps.
        slope: Slope of LeakyReLU below 0.
    """

    groups: ClassVar[bool] = True

    def __init__(self, *, channels: int, image_size: int, group_size: int = 1, width: Width = 1.0, slope: Slope = 0.2) -> None:
        super().__init__(channels=channels, image_size=image_size, width=width, slope=slope)
        maps = self.features // 16
        self.group_size, self.features = group_size, 4 * maps
        join = nn.Conv2d(group_size * maps, maps, 3, stride=2, padding=1, bias=False)
        nn.init.normal_(join.weight, 0.0, 0.02)
        self.joined = nn.Sequential(join, nn.BatchNorm2d(maps), nn.LeakyReLU(slope))

    def forward(self, x: Tensor) -> Tensor:
        """Map samples (N, k, C, H, W), or images (N, C, H, W) where k is 1, to features (N, F)."""
        images = x if self.group_size == 1 else x.flatten(0, 1)
        maps: Tensor = self.joined(super().forward(images).view(len(x), -1, 4, 4))
        return maps.flatten(1)
