"""Layers that several networks are made of: spectral norm, conditional batch norm, convolutions that resample.

A residual block of a GAN repeats every pixel before a 3 x 3 convolution, or averages pixels in fours after one. Both steps are
linear, so they are one convolution with a 4 x 4 kernel and stride 2, of 16 products for each small pixel where the two steps
take 36. The results are equal but for rounding.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

BOX = ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 1.0), (0.0, 0.0, 1.0))
"""Maps a kernel of 3 to that kernel after a box of 2 ones."""


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value, estimated by one power iteration per training forward.

    Miyato et al. 2018, Algorithm 1, in the order of torch's first ``spectral_norm``: v from u, then u from v. The vectors are
    constants of the gradient. Under ``parametrize.cached`` a turn has one power iteration.

    Args:
        weight: Initial weight, any shape; its first dimension is the output's.
        eps: Least norm that is divided by.
    """

    def __init__(self, weight: Tensor, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        matrix = weight.detach().flatten(1)
        self.register_buffer("power_u", F.normalize(torch.randn(matrix.shape[0]), dim=0, eps=eps))
        self.register_buffer("power_v", F.normalize(torch.randn(matrix.shape[1]), dim=0, eps=eps))
        self.power_u: Tensor
        self.power_v: Tensor

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight over its spectral norm, in float32 whatever the precision around it."""
        if torch.is_autocast_enabled(weight.device.type):
            with torch.autocast(weight.device.type, enabled=False):
                return self.forward(weight)
        # Every operator here costs more than its arithmetic, and this runs for each layer in each turn; so they are few, and
        # work in place. What the graph needs are copies, because a second forward before the backward moves the buffers on.
        matrix = weight.flatten(1)
        if not self.training:
            return weight / torch.dot(self.power_u.clone(), torch.mv(matrix, self.power_v.clone()))
        power_u, power_v = self.power_u, self.power_v
        v = torch.mv(matrix.detach().t(), power_u)
        v.div_(torch.linalg.vector_norm(v).clamp_min_(self.eps))
        stretched = torch.mv(matrix, v)
        u = stretched.detach()
        u = u / torch.linalg.vector_norm(u).clamp_min_(self.eps)
        power_u.copy_(u)
        power_v.copy_(v)
        return weight / torch.dot(u, stretched)


def spectral(module: nn.Module, enabled: bool = True, *, eps: float = 1e-6) -> nn.Module:
    """Return the module with its weight spectrally normalized, or as it is."""
    if enabled:
        weight = module.weight
        assert isinstance(weight, Tensor)
        # The parametrization keeps shape and type; checking it would cost a forward.
        parametrize.register_parametrization(module, "weight", SpectralNorm(weight, eps=eps), unsafe=True)
    return module


class AttributeEmbedding(nn.Linear):
    """The sum of the vectors of the attributes that an image has, in the place of the vector of its class.

    Args:
        attributes: Number of attributes A.
        width: Width F of the vectors.
    """

    def __init__(self, attributes: int, width: int) -> None:
        super().__init__(attributes, width, bias=False)

    def forward(self, label: Tensor) -> Tensor:
        """Map attributes (N, A) int64 to vectors (N, F)."""
        return super().forward(label.to(self.weight.dtype))


def embedding(classes: int, attributes: int, width: int) -> nn.Module:
    """Return what maps labels (N,), or attributes (N, A) where there are some, to vectors (N, width)."""
    return AttributeEmbedding(attributes, width) if attributes else nn.Embedding(classes, width)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm, then gain 1 + embed0(y) and bias embed1(y) (de Vries et al. 2017), as CBGAN's code has it.

    Args:
        maps: Number of maps C.
        classes: Number of classes K.
        attributes: Number of attributes A, where labels are attributes.
        eps: Added to the variance.
    """

    def __init__(self, maps: int, classes: int, attributes: int = 0, *, eps: float = 1e-4) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(maps, eps=eps, affine=False)
        self.gain = embedding(classes, attributes, maps)
        self.bias = embedding(classes, attributes, maps)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        """Normalize maps (N, C, H, W) given labels (N,) int64, or attributes (N, A)."""
        gain = (1 + self.gain(label))[:, :, None, None]
        normed: Tensor = self.norm(x) * gain + self.bias(label)[:, :, None, None]
        return normed


class Norm2d(nn.Module):
    """Batch norm, or conditional batch norm where a generator is conditional; called alike.

    Args:
        maps: Number of maps C.
        classes: Number of classes K, or None for plain batch norm.
        attributes: Number of attributes A, where labels are attributes.
    """

    def __init__(self, maps: int, classes: int | None, attributes: int = 0) -> None:
        super().__init__()
        self.conditional = classes is not None
        self.norm = nn.BatchNorm2d(maps) if classes is None else ConditionalBatchNorm2d(maps, classes, attributes)

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        """Normalize maps (N, C, H, W)."""
        normed: Tensor = self.norm(x, label) if self.conditional else self.norm(x)
        return normed


def halved(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``avg_pool2d(convolution(x), 2)`` for images (N, C, H, W) of even size and a padded 3 x 3 convolution."""
    kernel = _widened(convolution.weight.permute(2, 3, 0, 1), 0.25, False)
    return F.conv2d(x, kernel, convolution.bias, stride=2, padding=1)


def doubled(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``convolution(interpolate(x, scale_factor=2))``, nearest, for (N, C, H, W) and a padded 3 x 3 convolution."""
    outputs, inputs = convolution.weight.shape[:2]
    # As a matrix, for copying a transposed matrix is many times faster than copying permuted images.
    rows = convolution.weight.permute(0, 2, 3, 1).reshape(outputs, 9 * inputs).t().contiguous()
    kernel = _widened(rows.view(3, 3, inputs, outputs), 1.0, True)
    return F.conv_transpose2d(x, kernel, convolution.bias, stride=2, padding=1)


def _widened(taps: Tensor, factor: float, flipped: bool) -> Tensor:
    """Return kernels (3, 3, A, B) after a 2 x 2 box of `factor`, as (A, B, 4, 4)."""
    with torch.autocast(taps.device.type, enabled=False):
        wide = _boxes(factor, flipped, taps.device, taps.dtype) @ taps.reshape(9, -1)
    return wide.view(4, 4, *taps.shape[2:]).permute(2, 3, 0, 1)


@functools.cache
def _boxes(factor: float, flipped: bool, device: torch.device, dtype: torch.dtype) -> Tensor:
    one = torch.tensor(BOX, dtype=dtype)
    one = one.flip(1) if flipped else one
    return (factor * torch.kron(one, one)).to(device)


class GaussianNoise(nn.Module):
    """Adds Gaussian noise, in training mode only.

    Args:
        std: Its standard deviation, on the scale of what goes in.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        """Return x, of any shape, with noise on each value."""
        return x + self.std * torch.randn_like(x) if self.training and self.std else x
