"""Universal perturbations as translators: clean images in, perturbed images out."""

from __future__ import annotations

from typing import Annotated

import torch
from gancore_standard.tools import budget
from torch import Tensor, nn

import gancore
from gancore_uap.budgets import Norm, check_epsilon, project, size

Epsilon = float | str
"""A budget as a setting, as `gancore_standard.tools.budget` reads it."""

TEN_LEVELS = 10 / 255


class Perturbed(gancore.Translator):
    """Adds one perturbation to whatever images it is given, and clips to the images' range.

    The budget is on the [0, 1] scale of pixels; `gancore_uap.budgets` says what it means for each norm.

    Args:
        channels: Channels C of an image, from core.
        image_size: Height and width, from core.
        latent_dim: Width of the latent, which has no effect, from core.
        epsilon: The budget, in (0, 1], or as levels of a pixel: ``"10/255"``.
        norm: Of the budget.

    Raises:
        GancoreError: The budget is out of range.
    """

    def __init__(self, *, channels: int, image_size: int, latent_dim: int, epsilon: Epsilon, norm: Norm) -> None:
        super().__init__()
        epsilon = budget(epsilon, "the perturbation's epsilon", width=1.0)
        check_epsilon(epsilon, "the perturbation", norm)
        self.latent_dim = latent_dim
        self.shape = (channels, image_size, image_size)
        self.epsilon = epsilon
        self.norm: Norm = norm

    def perturbation(self) -> Tensor:
        """Return the perturbation (1, C, H, W) float32 within the budget, on the [0, 1] scale."""
        raise NotImplementedError

    def translate(self, images: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """Map images (N, C, H, W) in [-1, 1] to perturbed ones; latents and labels have no effect."""
        return (images + 2 * self.perturbation()).clamp(-1, 1)


class Direct(Perturbed):
    """A perturbation whose pixels are the parameters, projected onto the budget after every step.

    The cheap alternative to `GAP`: stochastic gradient descent on the pixels (Shafahi et al. 2020, arXiv:1811.11304).

    Args:
        channels: Channels C of an image, from core.
        image_size: Height and width, from core.
        latent_dim: Width of the latent, which has no effect, from core.
        epsilon: The budget, in (0, 1], or as levels of a pixel: ``"10/255"``.
        norm: Of the budget.
        start: The pixels start uniform on [-start, start] times the budget; 0 starts from nothing.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        latent_dim: int,
        epsilon: Epsilon = TEN_LEVELS,
        norm: Norm = "linf",
        start: Annotated[float, gancore.Range(0, 1)] = 0.1,
    ) -> None:
        super().__init__(channels=channels, image_size=image_size, latent_dim=latent_dim, epsilon=epsilon, norm=norm)
        self.delta = nn.Parameter((2 * torch.rand(1, *self.shape) - 1) * start * self.epsilon)

    def perturbation(self) -> Tensor:
        """Return the perturbation (1, C, H, W)."""
        return self.delta

    def project_(self) -> None:
        """Return to the budget, without gradient, after a step."""
        self.delta.copy_(project(self.delta, self.epsilon, self.norm))


class _Block(nn.Module):
    def __init__(self, maps: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), _convolution(maps, maps, 3), _norm(maps), nn.ReLU(),
            nn.ReflectionPad2d(1), _convolution(maps, maps, 3), _norm(maps),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = x + self.layers(x)
        return summed


class GAP(Perturbed):
    """Generative adversarial perturbation: a ResNet maps one fixed noise image to the perturbation (Poursaeed et al. 2018).

    The noise is uniform on [0, 255], drawn once. The network's output, in [-1, 1], becomes pixels around `center`, and is
    scaled down, never up, to the budget: by channel for l_inf, as the public code does, and as a whole for l_2. The scale
    carries no gradient. Batch norm always takes the statistics of that one image, so training and use agree. With 64 maps
    the network has 7,841,411 parameters (RGB).

    Args:
        channels: Channels C of an image, from core.
        image_size: Height and width, a multiple of 4 of at least 8, from core.
        latent_dim: Width of the latent, which has no effect, from core.
        epsilon: The budget, in (0, 1], or as levels of a pixel: ``"10/255"``.
        norm: Of the budget.
        maps: Maps of the first layer (ngf).
        blocks: Residual blocks.
        center: Per channel, the pixel value that is no perturbation; gray by default. The public code takes the mean of the
            victim's normalization.

    Raises:
        GancoreError: The images are too small for the network, or `center` has another number of channels.
    """

    noise: Tensor
    middle: Tensor

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        latent_dim: int,
        epsilon: Epsilon = TEN_LEVELS,
        norm: Norm = "linf",
        maps: Annotated[int, gancore.Range(1)] = 64,
        blocks: Annotated[int, gancore.Range(0, 1000)] = 6,
        center: list[float] | None = None,
    ) -> None:
        super().__init__(channels=channels, image_size=image_size, latent_dim=latent_dim, epsilon=epsilon, norm=norm)
        if image_size < 8 or image_size % 4:
            raise gancore.GancoreError(
                f"its ResNet halves twice and doubles twice, so it takes images of a multiple of 4 pixels from 8 on, not "
                f"{image_size}; set data.image_size, or craft with uap/direct."
            )
        if center is not None and len(center) != channels:
            raise gancore.GancoreError(f"center has {len(center)} channels, and the images have {channels}; they must agree.")
        self.register_buffer("noise", torch.rand(1, *self.shape) * 255)
        self.register_buffer("middle", torch.tensor([0.5] * channels if center is None else center).view(1, -1, 1, 1))
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), _convolution(channels, maps, 7), _norm(maps), nn.ReLU()]
        for n in (maps, 2 * maps):
            layers += [_convolution(n, 2 * n, 3, stride=2, padding=1), _norm(2 * n), nn.ReLU()]
        layers += [_Block(4 * maps) for _ in range(blocks)]
        for n in (4 * maps, 2 * maps):
            up = nn.ConvTranspose2d(n, n // 2, 3, stride=2, padding=1, output_padding=1, bias=False)
            layers += [up, _norm(n // 2), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(maps, channels, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def perturbation(self) -> Tensor:
        """Return the perturbation (1, C, H, W)."""
        return scaled_to_budget(self.layers(self.noise).float(), self.middle, self.epsilon, self.norm)


def scaled_to_budget(output: Tensor, middle: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """Return a network's output in [-1, 1] as a perturbation within a budget (Poursaeed et al. 2018, section 3.1).

    Args:
        output: (N, C, H, W).
        middle: Pixel value (1, C, 1, 1) on the [0, 1] scale that is no perturbation.
        epsilon: The budget.
        norm: Of the budget.

    Returns:
        The perturbation (N, C, H, W) on the [0, 1] scale; the factor that scales it down carries no gradient.
    """
    delta = (output + 1) / 2 - middle
    with torch.no_grad():
        if norm == "linf":
            strength = delta.abs().amax(dim=(2, 3), keepdim=True)
        else:
            strength = torch.stack([size(one, norm) for one in delta]).view(-1, 1, 1, 1)
        factor = (epsilon / strength.clamp_min(torch.finfo(delta.dtype).tiny)).clamp(max=1)
    return delta * factor


def _convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)


def _norm(maps: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(maps, track_running_stats=False)
